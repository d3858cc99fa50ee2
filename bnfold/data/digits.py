"""scikit-learn's digits: 1797 real 8×8 images of handwritten digits that come with the distribution."""

import functools
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from bnfold.data.dataset import Array, Dataset
from bnfold.data.split import Split
from bnfold.errors import MissingDependencyError

_TEST_EVERY = 5  # 1797 samples: 360 for the test, 1437 to train on


def digits(split: Split) -> Dataset:
    """Return ``images`` ``(N, 1, 8, 8)``, float32 in [0, 1], and labels 0 to 9.

    The split is fixed and stratified: every fifth sample of the list sorted by class is for the test, which
    needs no random generator and so stays the same under every version of the distributions.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    images, labels = _load()
    is_test = every_fifth_of_each_class(labels)
    chosen = is_test if split is Split.TEST else ~is_test
    return Dataset("digits", {"images": images[chosen]}, labels[chosen])


def every_fifth_of_each_class(labels: Array) -> npt.NDArray[np.bool_]:
    """Return which samples are for the test: every fifth of the list sorted by class, in the order of the data."""
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[np.argsort(labels, kind="stable")[::_TEST_EVERY]] = True
    return is_test


@functools.cache
def _load() -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.int64]]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError(
            "digits: scikit-learn, which carries the images, is not installed; run pip install 'bnfold[train]'."
        ) from error
    bunch = cast("dict[str, Any]", load_digits())
    images = bunch["images"].astype(np.float32) / np.float32(16)  # 16 grey levels, exact in binary
    return images[:, np.newaxis], bunch["target"].astype(np.int64)
