"""Arrays cut into batches, and what a batch leaves between two stages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bnfold.population.spill import Bytes, Packed
from bnfold.population_onnx.stages import Arrays


class ArrayBatches:
    """The first ``count`` batches of the inputs of a graph; all of them until ``read`` says otherwise.

    ``fixed`` is the batch size of a graph that takes no other: samples beyond a multiple of it are left out.
    """

    def __init__(self, inputs: Mapping[str, np.ndarray], batch_size: int, fixed: int | None) -> None:
        self._inputs = dict(inputs)
        self.size = fixed or batch_size
        samples = next((len(array) for array in self._inputs.values() if array.ndim), 1)
        self.left_out = samples % fixed if fixed else 0
        self._ranges = range(0, samples - self.left_out, self.size)
        self._samples = samples - self.left_out
        self.count = len(self._ranges)
        self.exhausted = True

    def read(self, count: int) -> None:
        """Take the first ``count`` batches, or all."""
        self.count = min(count, len(self._ranges))
        self.exhausted = self.count == len(self._ranges)

    @property
    def samples(self) -> int:
        """How many samples the batches have in all."""
        return min(self.count * self.size, self._samples)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Arrays]:
        for start in self._ranges[: self.count]:
            part = slice(start, min(start + self.size, self._samples))
            yield {name: array[part] if array.ndim else array for name, array in self._inputs.items()}


def pack_arrays(state: Arrays) -> Packed[Arrays]:
    """Take values of a graph apart for `bnfold.population.spill.States`; sequences and the like stay as they are."""
    values: dict[str, Any] = dict(state)
    plain = {n: np.ascontiguousarray(v) for n, v in values.items() if isinstance(v, np.ndarray) and v.dtype != object}
    forms = {name: (array.dtype, array.shape) for name, array in plain.items()}
    others = {name: value for name, value in values.items() if name not in plain}

    def read() -> Iterator[Bytes]:
        yield from (array.reshape(-1).view(np.uint8) for array in plain.values())

    def unpack(buffers: Sequence[Bytes]) -> Arrays:
        pairs = zip(forms.items(), buffers, strict=True)
        return others | {name: buffer.view(dtype).reshape(shape) for (name, (dtype, shape)), buffer in pairs}

    return Packed([array.nbytes for array in plain.values()], read, unpack)
