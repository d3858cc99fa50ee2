"""Samples in memory: one array per model input, one array of labels, all of the same length."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.errors import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples: ``inputs`` by model input name, each ``(n, *sample)``; ``labels`` ``(n, *target)`` or None."""

    inputs: dict[str, Array]
    labels: Array | None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their labels; checks itself when made.

    Attributes:
        name: what messages call it, e.g. ``npz:cats.npz``.
        inputs: one array ``(N, *sample)`` for each input of the model, by name; booleans, integers or finite floats.
        labels: ``(N,)`` for one class per sample, ``(N, *target)`` for dense targets, None without labels.

    Raises:
        InputError: no inputs, no samples, lengths that differ, objects or text in place of numbers, NaN or infinity.
    """

    name: str
    inputs: Mapping[str, Array]
    labels: Array | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError(f"{self.name}: no inputs; expected an array for each input of the model.")
        inputs = {name: _checked(self.name, name, array) for name, array in self.inputs.items()}
        labels = None if self.labels is None else _checked(self.name, "labels", self.labels)
        object.__setattr__(self, "inputs", MappingProxyType(inputs))
        object.__setattr__(self, "labels", labels)
        self._check_lengths()

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def _check_lengths(self) -> None:
        arrays = dict(self.inputs) if self.labels is None else {**self.inputs, "labels": self.labels}
        first = next(iter(self.inputs))
        for name, array in arrays.items():
            if len(array) != len(self):
                raise InputError(f"{self.name}: {name} has {len(array)} samples, but {first} has {len(self)}.")
        if len(self) == 0:
            raise InputError(f"{self.name}: empty, expected at least one sample.")

    def select(self, indices: Array | slice) -> Batch:
        """Return the samples at ``indices``: copies for an index array ``(n,)``, views for a slice."""
        labels = None if self.labels is None else self.labels[indices]
        return Batch({name: array[indices] for name, array in self.inputs.items()}, labels)

    def batch_ranges(self, batch_size: int, *, size: int | None = None, drop_last: bool = False) -> list[slice]:
        """Cut ``size`` samples (default: all) into consecutive slices of ``batch_size``; the last may be shorter."""
        if batch_size < 1:
            raise InputError(f"batch size: expected at least 1, found {batch_size}.")
        size = len(self) if size is None else size
        stop = size - size % batch_size if drop_last else size
        return [slice(start, min(start + batch_size, stop)) for start in range(0, stop, batch_size)]

    def batches(self, batch_size: int, *, order: Array | None = None, drop_last: bool = False) -> Iterator[Batch]:
        """Yield batches in the order of the data, or of ``order`` ``(n,)``, which may leave samples out.

        Args:
            batch_size: samples a batch; the last one may be shorter.
            order: sample indices; None for 0, 1, … N − 1.
            drop_last: leave a shorter last batch out.
        """
        size = None if order is None else len(order)
        for batch_range in self.batch_ranges(batch_size, size=size, drop_last=drop_last):
            yield self.select(batch_range if order is None else order[batch_range])

    def take(self, count: int) -> "Dataset":
        """Return the first ``count`` samples as a data set of their own.

        Raises:
            InputError: ``count`` is below 1 or above the number of samples.
        """
        if not 1 <= count <= len(self):
            raise InputError(f"{self.name}: cannot take {count} of {len(self)} samples.")
        batch = self.select(slice(count))
        return Dataset(self.name, batch.inputs, batch.labels)

    def digest(self) -> str:
        """Return the SHA-256 over names, types, shapes and values: equal data, equal digest, wherever it came from."""
        hashed = hashlib.sha256()
        arrays = [*sorted(self.inputs.items()), *([] if self.labels is None else [("", self.labels)])]
        for name, array in arrays:
            hashed.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
            hashed.update(array.reshape(-1).view(np.uint8).data)
        return hashed.hexdigest()


def _checked(dataset: str, name: str, array: Array) -> Array:
    """Return ``array`` contiguous and in the machine's byte order, as torch and ONNX Runtime take it."""
    if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]  (callers need not be typed)
        raise InputError(f"{dataset}: {name} is of type {type(array).__name__}, expected a NumPy array.")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{dataset}: {name} holds {array.dtype} values, expected numbers.")
    if array.ndim == 0:
        raise InputError(f"{dataset}: {name} is a scalar, expected one entry for each sample.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        sample = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise InputError(f"{dataset}: {name} holds NaN or infinity, first in sample {sample}.")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
