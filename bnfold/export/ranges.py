"""How large the values of a graph are, and how its operators pass roundings on: measured in float64, on samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bnfold.graph.rounding import rounded
from bnfold.verify.oracle import Oracle
from bnfold.verify.rounding import UNIT_ROUNDOFF
from bnfold.verify.samples import batch_of
from bnfold.verify.signature import Signature, check_inputs

MOST_SAMPLES = 16
"""Samples that ranges are measured on; more cost time, and move a maximum little."""

AT_ONCE = 2
"""Samples whose intermediate values are held in memory together."""

Values = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Range:
    """What an operator works on.

    Attributes:
        outputs: names of its floating-point results.
        largest: largest magnitude among its floating-point operands and results.
        faintest: among the channels (along the leading axis) of its stored operands that are not 0, the smallest of
            their largest magnitudes; infinite where it has no stored operand.
        amplification: root mean square of what its results move by when each operand is rounded once to the narrow
            type, in units of the type's roundoff times the results' root mean square.
    """

    outputs: tuple[str, ...]
    largest: float
    faintest: float
    amplification: float


def measure_ranges(model: ir.Model, inputs: Values, dtype: ir.DataType) -> tuple[dict[ir.Node, Range], int]:
    """Return the range of every node of the main graph that computes floating-point values, and how many samples told.

    Args:
        model: a float64 graph.
        inputs: samples by input name, in any floating-point type.
        dtype: the narrow type that amplifications are measured for.

    Raises:
        InputError: the inputs do not fit, or the float64 oracle does not know an operator.
    """
    signature = Signature.of(model)
    inputs = {name: _as_double(array) for name, array in inputs.items()}
    samples = min(check_inputs(signature, inputs), max(MOST_SAMPLES, signature.fixed_batch or 1))
    size = signature.fixed_batch or AT_ONCE
    oracle = Oracle(model)
    nodes = [node for node in model.graph if node.domain == ""]
    names = [value.name for node in nodes for value in node.outputs if value.name]
    stored = {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    largest = {name: _largest(array) for name, array in stored.items()}
    amplifications: dict[ir.Node, float] = {}
    floats: set[str] = set()
    for start in range(0, samples, size):
        part = batch_of(inputs, slice(start, start + size))
        values = {**oracle.run(part, outputs=names), **{name: np.asarray(array) for name, array in part.items()}}
        for name, array in values.items():
            largest[name] = max(largest.get(name, 0.0), _largest(array))
        if start == 0:
            floats = {name for name in names if np.issubdtype(values[name].dtype, np.floating)}
            amplifications = {
                node: _amplification(node, {**stored, **values}, model, dtype)
                for node in nodes
                if floats.intersection(value.name or "" for value in node.outputs)
            }
    return {
        node: Range(
            outputs=tuple(value.name for value in node.outputs if value.name in floats and value.name),
            largest=max(largest.get(value.name or "", 0.0) for value in (*node.inputs, *node.outputs) if value),
            faintest=min((_faintest(stored[v.name]) for v in node.inputs if v and v.name in stored), default=np.inf),
            amplification=amplification,
        )
        for node, amplification in amplifications.items()
    }, samples


def _as_double(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(np.float64) if ir.DataType.from_numpy(array.dtype).is_floating_point() else array


def _largest(array: npt.NDArray[Any]) -> float:
    return float(np.abs(array).max(initial=0.0)) if np.issubdtype(array.dtype, np.floating) else 0.0


def _faintest(array: npt.NDArray[Any]) -> float:
    """Return the smallest of the channels' largest magnitudes; a vector or a number counts as one channel."""
    if not np.issubdtype(array.dtype, np.floating):
        return np.inf
    rows = array.reshape(len(array) if array.ndim > 1 else 1, -1)
    channels = np.abs(rows).max(axis=1, initial=0.0)
    return float(channels.min(initial=np.inf, where=channels > 0))


def _amplification(node: ir.Node, values: Values, model: ir.Model, dtype: ir.DataType) -> float:
    """Evaluate one node with exact and with rounded operands."""
    if dtype is ir.DataType.FLOAT:
        return 0.0  # not asked for: float32 is what everything narrower falls back to
    exact = {value.name: values[value.name] for value in node.outputs if value.name in values and value.name}
    feeds = {value.name: values[value.name] for value in node.inputs if value is not None and value.name}
    moved = {name: _rounded(array, dtype) for name, array in feeds.items()}
    if not all(np.isfinite(array).all() for array in moved.values()):
        return np.inf  # out of range: said so by its size
    results = Oracle(_alone(node, feeds, model)).run(moved, outputs=list(exact))
    sizes = [
        (_rms(results[name] - array), _rms(array))
        for name, array in exact.items()
        if np.issubdtype(array.dtype, np.floating)
    ]
    return max((error / (UNIT_ROUNDOFF[dtype] * size) for error, size in sizes if size), default=0.0)


def _rounded(array: npt.NDArray[Any], dtype: ir.DataType) -> npt.NDArray[Any]:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    return rounded(array.astype(np.float64), dtype).astype(np.float64)


def _alone(node: ir.Node, feeds: Values, model: ir.Model) -> ir.Model:
    """Return a graph of one node, whose operands are inputs."""
    ports = {name: ir.val(name, ir.DataType.from_numpy(array.dtype), array.shape) for name, array in feeds.items()}
    operands = [None if value is None or not value.name else ports[value.name] for value in node.inputs]
    outputs = [ir.val(value.name or "") for value in node.outputs]
    copy = ir.Node("", node.op_type, operands, node.attributes.values(), outputs=outputs, name=node.name)
    named = [output for output in outputs if output.name]
    graph = ir.Graph(list(ports.values()), named, nodes=[copy], opset_imports=dict(model.graph.opset_imports))
    return ir.Model(graph, ir_version=model.ir_version)


def _rms(array: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(array)))) if array.size else 0.0
