"""Inputs to compare on: random ones where the user has none, and their division into batches."""

from collections.abc import Mapping, Sequence
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


def random_inputs(model: ir.Model, samples: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return standard-normal values for every input of ``model``, of its own type.

    The leading axis holds ``samples``, rounded up to a multiple of the graph's batch where that is fixed.

    Raises:
        InputError: an input is not of floating point, or has an axis of unknown extent besides the leading one.
    """
    signature = Signature.of(model)
    batch = signature.fixed_batch or 1
    rounded = -(-samples // batch) * batch
    generator = np.random.default_rng(seed)
    return {port.name: _random_array(port, rounded, generator) for port in signature.inputs}


def _random_array(port: Port, samples: int, generator: np.random.Generator) -> npt.NDArray[Any]:
    if port.dtype is None or not port.dtype.is_floating_point():
        raise InputError(f"input {port}: random values exist for floating point only; pass data for it.")
    if port.dims is None or not all(isinstance(dim, int) for dim in port.dims[1:]):
        raise InputError(f"input {port}: not all extents are known; pass data for it.")
    extents = [dim for dim in port.dims[1:] if isinstance(dim, int)]
    shape = [samples, *extents] if port.dims else []
    return np.asarray(generator.standard_normal(shape)).astype(port.dtype.numpy())


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


def _joined(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    alike = len({array.shape[1:] for array in arrays}) == 1
    return np.concatenate(arrays if alike else [array.ravel() for array in arrays])
