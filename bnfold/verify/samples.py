"""Inputs to compare on: random ones where the user has none, and their division into batches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bnfold.errors import InputError
from bnfold.verify.signature import Port, Signature

LARGEST_BATCH = 32
"""Samples evaluated at once; bounds the memory of the float64 oracle."""

Arrays = Mapping[str, npt.NDArray[Any]]
"""Arrays by input or output name; the leading axis counts samples."""


@dataclass(frozen=True)
class Range:
    """What an input may be: from ``low`` to ``high``, both included."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse bounds that are not numbers, or in the wrong order.

        Raises:
            InputError: they are.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"range {self.low}:{self.high}: expected two finite numbers, the smaller one first.")


def random_inputs(
    model: ir.Model, samples: int, seed: int, ranges: Mapping[str, Range] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return random values for every input of ``model``, of its own type.

    Inputs in ``ranges`` are uniform over theirs, integers too. The others are normal, each sample with a mean and a
    spread of its own: averages over samples of plain noise are so much alike that networks which average hardly
    tell them apart, and faults hide in that. The leading axis holds ``samples``, rounded up to a multiple of the
    graph's batch where that is fixed.

    Raises:
        InputError: a range is for no input; an input without one is not of floating point; or an input has an axis of
            unknown extent besides the leading one.
    """
    signature, ranges = Signature.of(model), ranges or {}
    unknown = sorted(ranges.keys() - {port.name for port in signature.inputs})
    if unknown:
        wanted = ", ".join(port.name for port in signature.inputs) or "none"
        raise InputError(f"range for {unknown[0]}: the graph has no such input; it has {wanted}.")
    batch = signature.fixed_batch or 1
    rounded = -(-samples // batch) * batch
    generator = np.random.default_rng(seed)
    return {port.name: _random_array(port, rounded, generator, ranges.get(port.name)) for port in signature.inputs}


SPREADS = (0.25, 4.0)
"""Smallest and largest standard deviation of one sample's values, log-uniform over the samples; means are normal."""


_DATA_WAYS = "pass data for it (--data; in a test, inputs=)"


def _random_array(port: Port, samples: int, generator: np.random.Generator, bounds: Range | None) -> npt.NDArray[Any]:
    if port.dtype is None or (bounds is None and not port.dtype.is_floating_point()):
        ways = f"{_DATA_WAYS}, or give verify and bench its range (--range {port.name}=LO:HI)"
        raise InputError(f"input {port}: random values exist for floating point only; {ways}.")
    if port.dims is None or not all(isinstance(dim, int) for dim in port.dims[1:]):
        raise InputError(f"input {port}: not all extents are known; {_DATA_WAYS}.")
    extents = [dim for dim in port.dims[1:] if isinstance(dim, int)]
    shape = [samples, *extents] if port.dims else []
    if bounds is None:
        values = np.asarray(generator.standard_normal(shape))
        if port.dims and extents:
            each = (len(values), *[1] * len(extents))
            spread = np.exp(generator.uniform(math.log(SPREADS[0]), math.log(SPREADS[1]), each))
            values = values * spread + generator.standard_normal(each)
        return values.astype(port.dtype.numpy())
    if port.dtype.is_floating_point():
        values = np.asarray(generator.uniform(bounds.low, bounds.high, shape))
    else:
        values = np.asarray(generator.integers(math.ceil(bounds.low), math.floor(bounds.high), shape, endpoint=True))
    return values.astype(port.dtype.numpy())


def batches(samples: int, fixed: int | None) -> list[slice]:
    """Divide ``samples`` into batches of one, two, and then as many as remain, up to ``LARGEST_BATCH`` at a time.

    One session thus sees changing shapes, and every sample is compared once; of two samples the first is seen again
    in the batch of two. A graph with a fixed batch gets batches of just that size.
    """
    if fixed:
        return [slice(start, start + fixed) for start in range(0, samples, fixed)]
    heads = {0: [], 1: [slice(0, 1)], 2: [slice(0, 1), slice(0, 2)]}.get(samples, [slice(0, 1), slice(1, 3)])
    tail = [slice(start, min(start + LARGEST_BATCH, samples)) for start in range(3, samples, LARGEST_BATCH)]
    return heads + tail


def batch_of(inputs: Arrays, where: slice) -> dict[str, npt.NDArray[Any]]:
    """Return the samples ``where`` of every input; scalars are the same for every sample."""
    return {name: array[where] if array.ndim else array for name, array in inputs.items()}


def joined(parts: Sequence[Arrays]) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs of consecutive batches joined along the leading axis.

    Outputs whose other extents change from batch to batch are joined as flat rows of numbers.
    """
    return {name: _joined([np.atleast_1d(part[name]) for part in parts]) for name in (parts[0] if parts else ())}


def as_doubles(outputs: Arrays) -> dict[str, npt.NDArray[np.float64]]:
    """Return the outputs as float64, in which every narrower float and every integer below 2⁵³ is exact."""
    return {name: array.astype(np.float64) for name, array in outputs.items()}


def _joined(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    alike = len({array.shape[1:] for array in arrays}) == 1
    return np.concatenate(arrays if alike else [array.ravel() for array in arrays])
