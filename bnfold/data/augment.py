"""Training images changed by chance, by name: ``crop:4``, ``flip``.

    crop:P   pad P zeros on every side, then cut the old size out at a random place
    flip     mirror left and right, one image in two

What is drawn is a function of seed, step and the sample's place in the minibatch: it is the same after a resumption,
and whichever process computes the sample. Inputs (N, C, H, W) are changed, all of a sample's alike; others are not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bnfold.data.dataset import Array, Batch, Dataset
from bnfold.data.factories import did_you_mean
from bnfold.errors import InputError


class Augmentation(Protocol):
    """One kind of change."""

    def draw(self, random: np.random.Generator, samples: int) -> Array:
        """Return one draw a sample."""
        ...

    def change(self, images: Array, drawn: Array) -> Array:
        """Return changed images (n, C, H, W) by the draws of these samples."""
        ...


@dataclass(frozen=True)
class Crop:
    """A window of the images' own size, at a random place of the images padded with zeros."""

    padding: int

    def draw(self, random: np.random.Generator, samples: int) -> Array:
        """Return the window's corner (samples, 2)."""
        return random.integers(0, 2 * self.padding + 1, (samples, 2))

    def change(self, images: Array, drawn: Array) -> Array:
        """Return the windows."""
        height, width = images.shape[2:]
        border = (self.padding, self.padding)
        padded = np.pad(images, ((0, 0), (0, 0), border, border))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        samples = np.arange(len(images))
        return np.ascontiguousarray(windows[samples, :, drawn[:, 0], drawn[:, 1]])


@dataclass(frozen=True)
class Flip:
    """Left and right exchanged in one image of two."""

    def draw(self, random: np.random.Generator, samples: int) -> Array:
        """Return whether (samples,)."""
        return random.random(samples) < 0.5

    def change(self, images: Array, drawn: Array) -> Array:
        """Return the images, some of them mirrored."""
        return np.where(drawn[:, None, None, None], images[..., ::-1], images)


_FORM = re.compile(r"crop:([1-9]\d*)|flip", re.ASCII)
CHOICES = "crop:PIXELS, flip"


def parse_augmentations(specs: Sequence[str]) -> tuple[Augmentation, ...]:
    """Return what the names stand for, in their order.

    Raises:
        InputError: a name that is none.
    """
    return tuple(map(_parse, specs))


def require_images(dataset: Dataset) -> None:
    """Check that there is something to augment.

    Raises:
        InputError: no input is images (N, C, H, W).
    """
    if not any(array.ndim == 4 for array in dataset.inputs.values()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in dataset.inputs.items())
        raise InputError(f"augment: {dataset.name} has no images (N, channels, height, width), only {shapes}.")


def augmented(
    batch: Batch, augmentations: Sequence[Augmentation], *, seed: int, step: int, samples: int, places: Array
) -> Batch:
    """Return a batch with its images changed.

    Args:
        batch: n samples of a minibatch.
        augmentations: what to do, in this order.
        seed: of the run.
        step: of the minibatch.
        samples: in the minibatch.
        places: (n,) where in the minibatch the batch's samples stand.
    """
    if not augmentations:
        return batch
    random = np.random.default_rng([seed, step, _STREAM])
    inputs: Mapping[str, Array] = batch.inputs
    for augmentation in augmentations:
        drawn = augmentation.draw(random, samples)[places]
        inputs = {name: augmentation.change(x, drawn) if x.ndim == 4 else x for name, x in inputs.items()}
    return Batch(dict(inputs), batch.labels)


_STREAM = 1
"""Keeps these draws apart from the order of the data, which is drawn from [seed, epoch]."""


def _parse(spec: str) -> Augmentation:
    found = _FORM.fullmatch(spec)
    if found is None:
        raise InputError(f"augment: no {spec!r}{did_you_mean(spec, ['crop:4', 'flip'])}; expected {CHOICES}.")
    return Flip() if found[1] is None else Crop(int(found[1]))
