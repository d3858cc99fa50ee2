"""Inputs at the edges of what a model is given: zeros, large and denormal values, and what only borders see.

Each case is one sample, and is judged by itself: beside values a thousand times larger no other error would show.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bnfold.verify.samples import Arrays, Range
from bnfold.verify.signature import Port, Signature
from bnfold.verify.tolerance import Size, Tolerance

_LARGE = 2.0**10
"""Standard deviations of the case of large values; those of float16 have a sixteenth, or the first layer overflows."""


@dataclass(frozen=True)
class EdgeCases:
    """One sample a case, in the order of ``names``.

    ``inputs`` holds them along the leading axis, each as often as a graph with a fixed batch takes samples: ``size``.
    """

    names: tuple[str, ...]
    inputs: Arrays
    size: int = 1

    @property
    def plan(self) -> list[slice]:
        """Return the batch of every case."""
        return [slice(index * self.size, (index + 1) * self.size) for index in range(len(self.names))]

    @classmethod
    def none(cls) -> "EdgeCases":
        """Return no cases."""
        return cls((), {})


@dataclass(frozen=True)
class EdgeOutput:
    """One output on one case: its error, and what that is held to."""

    name: str
    error: Size
    tolerance: Tolerance

    @property
    def excess(self) -> float:
        """Return the error over its limit; infinite where the error is no number."""
        excess = self.error / self.tolerance.limit
        return math.inf if math.isnan(excess) else excess


@dataclass(frozen=True)
class EdgeCaseReport:
    """The outcome of one case over all outputs.

    ``error_over_limit`` is that of the worst output, None where the original is not finite on the case, and nothing
    can be held to it. ``outputs`` are those that can.
    """

    name: str
    words: str
    passed: bool
    finite: bool
    error_over_limit: float | None
    outputs: tuple[EdgeOutput, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the case for JSON."""
        sizes = [{"name": each.name, "error": asdict(each.error), **asdict(each.tolerance)} for each in self.outputs]
        return {**asdict(self), "samples": 1, "outputs": sizes}


def edge_cases(model: ir.Model, ranges: Mapping[str, Range], seed: int) -> EdgeCases:
    """Return the cases that the inputs of ``model`` have, within ``ranges`` where there are any.

    None for a graph with inputs of unknown extents, or without floating-point inputs.
    """
    signature = Signature.of(model)
    generator = np.random.default_rng(seed)
    plain = all(port.dims and all(isinstance(dim, int) for dim in port.dims[1:]) for port in signature.inputs)
    floats = [port for port in signature.inputs if port.dtype is not None and port.dtype.is_floating_point()]
    if not plain or not floats:
        return EdgeCases.none()
    cases: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for name, fill in _FILLS.items():
        filled = {port.name: fill(port, ranges.get(port.name), generator) for port in signature.inputs}
        if name == "border" and all(len(port.dims or ()) < 3 for port in floats):
            continue  # no spatial axes, no border
        cases[name] = filled
    size = signature.fixed_batch or 1
    stacked = {
        port.name: np.repeat(np.stack([case[port.name] for case in cases.values()]), size, axis=0)
        for port in signature.inputs
    }
    return EdgeCases(tuple(cases), stacked, size)


def _dims(port: Port) -> list[int]:
    return [dim for dim in (port.dims or ())[1:] if isinstance(dim, int)]


def _within(values: npt.NDArray[Any], port: Port, bounds: Range | None) -> npt.NDArray[Any]:
    """Return ``values`` in the port's type, cut to its range; of integers only what the range allows."""
    assert port.dtype is not None
    if bounds is not None:
        values = np.clip(values, bounds.low, bounds.high)
    elif not port.dtype.is_floating_point():
        values = np.zeros_like(values)
    return values.astype(port.dtype.numpy())


def _zeros(port: Port, bounds: Range | None, _: np.random.Generator) -> npt.NDArray[Any]:
    return _within(np.zeros(_dims(port)), port, bounds)


def _large(port: Port, bounds: Range | None, generator: np.random.Generator) -> npt.NDArray[Any]:
    """Return large normal values; with a range its two ends, at random."""
    dims = _dims(port)
    if bounds is not None:
        return _within(generator.choice([bounds.low, bounds.high], dims), port, bounds)
    large = _LARGE / 16 if port.dtype is ir.DataType.FLOAT16 else _LARGE
    return _within(generator.standard_normal(dims) * large, port, bounds)


def _denormal(port: Port, bounds: Range | None, generator: np.random.Generator) -> npt.NDArray[Any]:
    """Return numbers of half the smallest normal number of the type, of either sign."""
    assert port.dtype is not None
    tiny = 0.0
    if port.dtype.is_floating_point():
        tiny = float(ml_dtypes.finfo(port.dtype.numpy()).smallest_normal) / 2
    return _within(generator.choice([-tiny, tiny], _dims(port)), port, bounds)


def _border(port: Port, bounds: Range | None, _: np.random.Generator) -> npt.NDArray[Any]:
    """Return zeros with a frame of ones around the spatial axes: what a convolution sees at its padding."""
    values = np.ones(_dims(port))
    inside = (slice(None), *(slice(1, -1) for _ in values.shape[1:]))
    if values.ndim >= 2:
        values[inside] = 0
    high = 1.0 if bounds is None else bounds.high
    return _within(values * high, port, bounds)


_FILLS = {"zeros": _zeros, "large": _large, "denormal": _denormal, "border": _border}

WORDS = {
    "zeros": "all zeros",
    "large": "values a thousand standard deviations large, or the ends of the range",
    "denormal": "values below the smallest normal number",
    "border": "ones along the border, zeros inside",
}
"""What each case is, for people."""
