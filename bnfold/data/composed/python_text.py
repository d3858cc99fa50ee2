"""``python-text``: English prose that every Python carries, the pages of its help command, character by character."""

import functools

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.split import Split
from bnfold.errors import MissingDependencyError

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,:;'\"()[]-_=0#"
"""What characters become: lower case, every digit a 0, every run of white space a blank, anything else a #."""
LENGTH = 64
_SAMPLES = {Split.TRAIN: 4000, Split.TEST: 400}


@functools.cache
def python_text(split: Split) -> Dataset:
    """Return ``characters`` ``(N, 64)``, places in `ALPHABET`, and labels ``(N, 64)``, the characters that follow.

    The pages are taken in the order of their names; windows of the test come from pages behind those of the training.
    The text is that of the Python that runs, which the digest in a run's record tells apart.
    """
    text = _encoded(_pages())
    train, test = _SAMPLES[Split.TRAIN] * LENGTH, _SAMPLES[Split.TEST] * LENGTH
    start, size = (0, train) if split is Split.TRAIN else (train, test)
    window = text[start : start + size + 1]
    shape = (_SAMPLES[split], LENGTH)
    return Dataset("python-text", {"characters": window[:-1].reshape(shape)}, window[1:].reshape(shape))


def _encoded(text: str) -> Array:
    place = {character: index for index, character in enumerate(ALPHABET)}
    plain = (("0" if character.isdigit() else character) for character in " ".join(text.lower().split()))
    return np.array([place.get(character, len(ALPHABET) - 1) for character in plain], np.int64)


def _pages() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise MissingDependencyError(
            "python-text: this Python comes without pydoc_data, the text of its help command."
        ) from error
    return "\n".join(topics[name] for name in sorted(topics))
