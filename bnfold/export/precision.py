"""The floating-point type of every operator: what the user asks for, but where it would lose too much."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import ml_dtypes
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common as passes

from bnfold.errors import InputError
from bnfold.export.definitions import find_schema
from bnfold.export.narrow import narrow_types
from bnfold.export.ranges import Range, measure_ranges
from bnfold.graph.sequences import has_sequences
from bnfold.verify.oracle.widening import widened
from bnfold.verify.tolerance import K

SCHEMA = "bnfold.precision/1"


class Precision(StrEnum):
    """What weights are stored in and operators compute in; in `MIXED`, convolutions and matrix products in float16."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    MIXED = "mixed"

    @property
    def dtype(self) -> ir.DataType:
        """The narrowest type that it allows."""
        narrow = {Precision.FLOAT32: ir.DataType.FLOAT, Precision.BFLOAT16: ir.DataType.BFLOAT16}
        return narrow.get(self, ir.DataType.FLOAT16)


LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""What `Precision.MIXED` narrows: runtimes sum such products in float32, and tensor cores are made for them."""

_SHAPING = (
    "Concat DepthToSpace Expand Flatten Gather Pad Reshape Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
)
_CHOOSING = "Clip Dropout GlobalMaxPool Identity Max MaxPool Min Relu"
FOLLOWERS = frozenset(f"{_SHAPING} {_CHOOSING}".split())
"""Operators that round nothing: they take the type of what they read, so that no Cast is put around them."""

HEADROOM = 2.0
"""The largest value that was seen may take half of a type's range: one binary digit is left for inputs not seen."""


@dataclass(frozen=True)
class Layer:
    """An operator and its type.

    Attributes:
        name: the node's, or its output's where it has none.
        operator: its type.
        dtype: what it computes in, in ONNX's words, in lower case.
        largest: the largest magnitude that it read, held or gave on the samples.
        amplification: how many units of roundoff the result moves, relative to its root mean square, when all that the
            operator reads is rounded once to the narrow type; None where that was not measured.
        reason: why it is wider than asked for; None where it is not.
        follows: whether it is so only since what it reads is.
    """

    name: str
    operator: str
    dtype: str
    largest: float
    amplification: float | None
    reason: str | None = None
    follows: bool = False


@dataclass(frozen=True)
class PrecisionReport:
    """The account of one conversion.

    Attributes:
        precision: what was asked for.
        layers: the operators on floating-point values, in graph order.
        casts: Cast nodes that were put in.
        samples: how many samples the ranges were measured on.
    """

    precision: Precision
    layers: tuple[Layer, ...]
    casts: int
    samples: int

    @property
    def kept(self) -> tuple[Layer, ...]:
        """The operators that are wider than asked for, on their own account."""
        return tuple(layer for layer in self.layers if layer.reason is not None and not layer.follows)

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON-able data."""
        return {"schema": SCHEMA, **asdict(self), "kept": len(self.kept)}


def in_double(model: ir.Model) -> ir.Model:
    """Return a copy of ``model`` in float64 throughout, to fold and merge in before `convert_precision` rounds once.

    Raises:
        InputError: it has bodies of If, Loop or Scan, sequences, or operators that are not the standard's: their types
            are not converted.
    """
    bodies = [node.name or node.op_type for graph in model.graph.subgraphs() for node in graph]
    foreign = [f"{node.name} ({node.op_type} of {node.domain})" for node in model.graph if node.domain]
    found = None
    if bodies:
        found = f"node {bodies[0]} is in a body of If, Loop or Scan"
    elif has_sequences(model):
        found = "it computes with sequences"
    elif foreign:
        found = f"node {foreign[0]} is none of the standard's"
    if found is not None:
        raise InputError(f"precision: the types of this graph cannot be converted: {found}.")
    twin = widened(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(twin)
    return twin


def convert_precision(
    model: ir.Model,
    precision: Precision,
    *,
    ports: Mapping[str, ir.DataType],
    inputs: Mapping[str, npt.NDArray[Any]],
) -> PrecisionReport:
    """Round the weights of a float64 graph once, and choose the type of every operator; in place.

    An operator stays in float32 if

    1. the standard has no such operator in the narrow type, in the graph's operator set;
    2. a value that it reads, holds or gives leaves the type's range (`HEADROOM`), or all weights of one of its channels
       lie below its normal range;
    3. it amplifies the rounding of what it reads more than `K` times, the factor within which verification attributes
       errors to roundings;
    4. `Precision.MIXED`: it is not one of `LINEAR`. `FOLLOWERS` take the type of what they read.

    Args:
        model: from `in_double`, folded and merged.
        precision: what to convert to.
        ports: types of the graph's inputs and outputs, by name; where they differ from the operators', a Cast is put.
        inputs: samples to measure ranges on, by input name.

    Raises:
        InputError: the inputs do not fit, or the float64 oracle does not know an operator.
    """
    dtype = precision.dtype
    ranges, samples = measure_ranges(model, inputs, dtype)
    chosen, layers = _choose(model, precision, ranges)
    casts = narrow_types(model, chosen, ports, floats={name for each in ranges.values() for name in each.outputs})
    return PrecisionReport(precision, tuple(layers), casts, samples)


def _choose(
    model: ir.Model, precision: Precision, ranges: Mapping[ir.Node, Range]
) -> tuple[dict[ir.Node, ir.DataType], list[Layer]]:
    opset = model.graph.opset_imports.get("", 1)
    chosen: dict[ir.Node, ir.DataType] = {}
    layers: list[Layer] = []
    for node in model.graph:
        measured = ranges.get(node)
        if measured is None:
            chosen[node] = precision.dtype
            continue
        objection = _objection(node, measured, precision, opset)
        follows = objection is None and node.op_type in FOLLOWERS and precision is not Precision.FLOAT32
        reason = _followed(node, chosen, ranges, precision) if follows else objection
        chosen[node] = precision.dtype if reason is None else ir.DataType.FLOAT
        name = node.name or node.outputs[0].name or node.op_type
        amplification = None if precision is Precision.FLOAT32 else measured.amplification
        dtype = chosen[node].name.lower()
        layers.append(
            Layer(name, node.op_type, dtype, measured.largest, amplification, reason, follows and reason is not None)
        )
    return chosen, layers


def _objection(node: ir.Node, measured: Range, precision: Precision, opset: int) -> str | None:
    """Return why a node is not to compute in the narrow type, or None."""
    dtype = precision.dtype
    if precision is Precision.FLOAT32:
        return None
    narrow, info = dtype.name.lower(), ml_dtypes.finfo(dtype.numpy())
    if not _has_type(node, dtype, opset):
        return f"opset {opset} has no {node.op_type} in {narrow}"
    if precision is Precision.MIXED and node.op_type not in LINEAR | FOLLOWERS:
        return "it is no convolution or matrix product"
    if measured.largest * HEADROOM > float(info.max):
        return f"a value of {measured.largest:.3g} comes near {narrow}'s largest, {float(info.max):.3g}"
    if measured.faintest < float(info.smallest_normal):
        return f"a channel's weights are {measured.faintest:.3g} at most, below {narrow}'s normal range"
    if measured.amplification > K:
        return f"it amplifies the rounding of what it reads {measured.amplification:.3g} times"
    return None


def _followed(
    node: ir.Node,
    chosen: Mapping[ir.Node, ir.DataType],
    ranges: Mapping[ir.Node, Range],
    precision: Precision,
) -> str | None:
    """Return why an operator that follows is wide: what it reads is."""
    read = [value for value in node.inputs if value is not None and not value.is_initializer()]
    producers: Sequence[ir.Node | None] = [value.producer() for value in read]
    for value, producer in zip(read, producers, strict=True):
        if producer is None:
            wide = precision is Precision.MIXED and value.dtype is ir.DataType.DOUBLE
        else:
            wide = producer in ranges and chosen[producer] is ir.DataType.FLOAT
        if wide:
            return f"it reads {value.name}, which is float32"
    return None


def _has_type(node: ir.Node, dtype: ir.DataType, opset: int) -> bool:
    """Whether the standard has a node's operator with a first input, or else a first output, of a type."""
    schema = find_schema(node.op_type, opset) if node.domain == "" else None
    if schema is None:
        return False
    formal = [*schema.inputs, *schema.outputs]
    if node.op_type == "ConstantOfShape":
        formal = list(schema.outputs)
    return f"tensor({dtype.name.lower()})" in formal[0].types
