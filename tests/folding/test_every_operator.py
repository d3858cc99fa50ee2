"""Every operator of the table by itself: what it lets through, and that its channels keep their order."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest

from bnfold.folding import Objective
from bnfold.folding.rules import RULES
from bnfold.verify.oracle import Oracle
from tests.folding.builder import EPSILON, Builder, Tensor
from tests.folding.checker import fold_checked

C = 4
"""Channels of the input, which is (2, C, 4, 4)."""

Middle = Callable[[Builder, str], str]


def _resize(b: Builder, x: str) -> str:
    scales = b.stored([1.0, 1.0, 2.0, 2.0], dtype=np.float32)
    return b("Resize", x, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric")


def _recurrent(op_type: str, gates: int) -> Middle:
    """Return two directions over a sequence whose channels are those of x, with a bias."""

    def middle(b: Builder, x: str) -> str:
        rows = b("Reshape", b("Transpose", x, perm=[0, 2, 3, 1]), b.integers(8, 4, C))
        weights = b.normal(2, gates * 3, C), b.normal(2, gates * 3, 3), b.normal(2, 2 * gates * 3)
        return b(op_type, rows, *weights, hidden_size=3, direction="bidirectional")

    return middle


def _roi_align(b: Builder, x: str) -> str:
    regions = b.stored([[0.0, 0.0, 3.0, 2.0], [1.0, 0.0, 5.0, 3.0]])
    return b("RoiAlign", x, regions, b.integers(0, 1), output_height=2, output_width=2, sampling_ratio=1)


def _roi_align_beyond_the_map(b: Builder, x: str) -> str:
    regions = b.stored([[-4.0, -4.0, 3.0, 2.0], [1.0, 0.0, 9.0, 9.0]])
    return b("RoiAlign", x, regions, b.integers(0, 1), output_height=2, output_width=2, sampling_ratio=2)


def _grid_sample(b: Builder, x: str, mode: str = "border") -> str:
    grid = b.stored(np.random.default_rng(0).uniform(-1.5, 1.5, (2, 3, 3, 2)))
    return b("GridSample", x, grid, mode="bilinear", padding_mode=mode)


def _where(b: Builder, x: str) -> str:
    mask = b.stored(np.arange(16).reshape(4, 4) % 3 > 0, dtype=np.bool_)
    return b("Where", mask, x, b("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4))


MIDDLES: MappingProxyType[str, Middle] = MappingProxyType(
    {
        "Conv": lambda b, x: b.conv(x, C, C, 1, 1),
        "ConvTranspose": lambda b, x: b("ConvTranspose", x, b.normal(C, 3, 2, 2)),
        "Gemm": lambda b, x: b("Gemm", b("Flatten", x), b.normal(C * 16, 6)),
        "MatMul": lambda b, x: b("MatMul", x, b.normal(4, 5)),
        "Einsum": lambda b, x: b("Einsum", x, b.normal(3, C), equation="nchw,oc->nwho"),
        "LSTM": _recurrent("LSTM", 4),
        "GRU": _recurrent("GRU", 3),
        "RNN": _recurrent("RNN", 1),
        "BatchNormalization": lambda b, x: b.batch_norm(x, C),
        "Add": lambda b, x: b("Add", b.conv(x, C, C, 1, 1), b.conv(x, C, C, 1, 1)),
        "Sub": lambda b, x: b("Sub", b.conv(x, C, C, 1, 1), b.conv(x, C, C, 1, 1)),
        "Mul": lambda b, x: b("Mul", x, b("Sigmoid", b("GlobalAveragePool", "x"))),
        "Div": lambda b, x: b("Div", x, b.positive(C, 1, 1)),
        "Sum": lambda b, x: b("Sum", b.conv(x, C, C, 1, 1), b.conv(x, C, C, 1, 1), x),
        "Neg": lambda b, x: b("Neg", x),
        "Max": lambda b, x: b("Max", x, b("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)),
        "Min": lambda b, x: b("Min", x, b("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)),
        "Where": _where,
        "InstanceNormalization": lambda b, x: b("InstanceNormalization", x, b.positive(C), b.normal(C)),
        "LayerNormalization": lambda b, x: b("LayerNormalization", x, b.positive(4), b.normal(4)),
        "Abs": lambda b, x: b("Abs", x),
        "Relu": lambda b, x: b("Relu", x),
        "LeakyRelu": lambda b, x: b("LeakyRelu", x, alpha=0.25),
        "PRelu": lambda b, x: b("PRelu", x, b.positive(C, 1, 1)),
        "Clip": lambda b, x: b("Clip", x, b.stored(0.0)),
        "MaxPool": lambda b, x: b("MaxPool", x, kernel_shape=[2, 2]),
        "GlobalMaxPool": lambda b, x: b("GlobalMaxPool", x),
        "AveragePool": lambda b, x: b("AveragePool", x, kernel_shape=[2, 2]),
        "GlobalAveragePool": lambda b, x: b("GlobalAveragePool", x),
        "LpPool": lambda b, x: b("LpPool", x, kernel_shape=[2, 2]),
        "ReduceL1": lambda b, x: b("ReduceL1", x, axes=[2, 3]),
        "ReduceL2": lambda b, x: b("ReduceL2", x, axes=[2, 3]),
        "RoiAlign": _roi_align,
        "GridSample": _grid_sample,
        "ReduceMean": lambda b, x: b("ReduceMean", x, axes=[2, 3]),
        "ReduceMax": lambda b, x: b("ReduceMax", x, axes=[2, 3]),
        "ReduceMin": lambda b, x: b("ReduceMin", x, axes=[2, 3]),
        "ReduceSum": lambda b, x: b("ReduceSum", x, b.integers(2, 3)),
        "Shape": lambda b, x: b("Expand", x, b("Shape", x)),
        "Size": lambda b, x: b("Reshape", x, b("Reshape", b("Size", x), b.integers(1))),
        "Identity": lambda b, x: b("Identity", x),
        "Cast": lambda b, x: b("Cast", x, to=onnx.TensorProto.DOUBLE),
        "Dropout": lambda b, x: b("Dropout", x),
        "Reshape": lambda b, x: b("Reshape", x, b.integers(2, C, 2, 8)),
        "Flatten": lambda b, x: b("Flatten", x),
        "Squeeze": lambda b, x: b("Squeeze", b("Unsqueeze", x, b.integers(2)), b.integers(2)),
        "Unsqueeze": lambda b, x: b("Unsqueeze", x, b.integers(1)),
        "Transpose": lambda b, x: b("Transpose", x, perm=[2, 0, 3, 1]),
        "Expand": lambda b, x: b("Expand", x, b.integers(3, 1, C, 4, 4)),
        "Tile": lambda b, x: b("Tile", x, b.integers(1, 2, 1, 3)),
        "Concat": lambda b, x: b("Concat", x, b.conv(x, C, 2, 1, 1), axis=1),
        "Split": lambda b, x: b("Split", x, b.integers(1, 3), axis=1, outputs=2),
        "Slice": lambda b, x: b("Slice", x, b.integers(3), b.integers(0), b.integers(1), b.integers(-1)),
        "Gather": lambda b, x: b("Gather", x, b.integers(2, 0, 3, 2), axis=1),
        "Pad": lambda b, x: b("Pad", x, b.integers(0, 0, 1, 0, 0, 0, 1, 2), mode="reflect"),
        "DepthToSpace": lambda b, x: b("DepthToSpace", b.conv(x, C, 8, 1, 1), blocksize=2),
        "SpaceToDepth": lambda b, x: b("SpaceToDepth", x, blocksize=2),
        "Resize": _resize,
    }
)
"""Operator → a use of it on (2, C, 4, 4)."""

MIXERS: MappingProxyType[str, Middle] = MappingProxyType(
    {
        "Add": lambda b, x: b("Add", x, b.normal(C, 4, 4)),
        "AveragePool": lambda b, x: b("AveragePool", x, kernel_shape=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1),
        "Concat": lambda b, x: b("Concat", x, b("Sigmoid", "x"), axis=2),
        "Div": lambda b, x: b("Div", x, b.positive(C, 1, 4)),
        "Einsum": lambda b, x: b("Einsum", x, b("Sigmoid", "x"), equation="nchw,nchv->nvwc"),
        "GridSample": lambda b, x: _grid_sample(b, x, mode="zeros"),
        "Max": lambda b, x: b("Max", x, b.normal(C, 1, 1)),
        "Mul": lambda b, x: b("Mul", x, b.positive(4, 4)),
        "Pad": lambda b, x: b("Pad", x, b.integers(0, 0, 1, 0, 0, 0, 1, 2)),
        "ReduceSum": lambda b, x: b("ReduceSum", x, b.integers(2)),
        "RoiAlign": _roi_align_beyond_the_map,
        "Where": lambda b, x: b("Where", b.stored([True, False, True, True], dtype=np.bool_), x, b.stored(0.0)),
    }
)
"""Other uses of some: with padding that counts, along another axis, with constants that vary along several."""

PLAIN: dict[str, Any] = {"beta": np.zeros(C), "mean": np.zeros(C), "variance": np.full(C, 1.0 - EPSILON)}
SCALES: dict[str, Any] = {**PLAIN, "gamma": [1.0, 2.0, 0.5, 3.0]}
SHIFTS: dict[str, Any] = {**PLAIN, "gamma": np.ones(C), "beta": [0.0, 1.0, -2.0, 3.0]}
"""What lets a normalization scale its channels only, or shift them only: the first channel not at all."""

REPEATING = {"Flatten", "Gather", "SpaceToDepth", "Tile"}
"""Operators that give several positions of an axis one gauge."""


OTHER_OPSETS = {"GroupNormalization", "RMSNormalization", "Upsample"}
"""Operators that opset 17 lacks; they have tests of their own."""

STANDARDIZING = {"InstanceNormalization", "LayerNormalization"}
"""Operators that let nothing through, and take up what comes behind."""


RECURRENT = {"GRU", "LSTM", "RNN"}
"""Operators that take up what comes before, and let nothing through."""


def test_every_operator_is_here() -> None:
    """An operator that gets a rule gets a line above."""
    assert set(MIDDLES) == set(RULES) - OTHER_OPSETS


@pytest.mark.parametrize("operator", MIDDLES)
def test_a_scale_passes(operator: str) -> None:
    """x → BN → operator → Mul, of which BN doubles and Mul halves: both go, the operator lets a scale through."""
    b = Builder()
    zero, double = np.zeros(C), np.full(C, 2.0)
    x = b.input(2, C, 4, 4)
    x = b.batch_norm(x, C, gamma=double, beta=zero, mean=zero, variance=np.full(C, 1.0 - EPSILON), name="double")
    y = MIDDLES[operator](b, x)
    model = b.model(b("Mul", y, b.stored(0.5), name="halve"))
    folded = fold_checked(model, objective=Objective.NO_BN)
    left = {node.name for node in folded.model.graph} & {"double", "halve"}
    if operator in STANDARDIZING:
        assert left == {"double"}
    else:  # of Div and Mul one stays, and takes up the other
        assert left == ({"halve"} if operator in {"Div", *RECURRENT} else set())


@pytest.mark.parametrize("operator", sorted(set(MIDDLES) - {"Shape", "Size", *RECURRENT}))
def test_channels_keep_their_order(operator: str) -> None:
    """Factors along some axis of the result are taken up by the Conv in front: each by the channel that it is for."""
    taken_up = 0
    for axis in range(4):
        b = Builder()
        y = MIDDLES[operator](b, b.conv(b.input(2, C, 4, 4), C, C, 1, 1))
        factors = _factors(operator, dims_of(b, y), axis)
        folded = fold_checked(b.model(b("Mul", y, b.stored(factors), name="factors")))
        taken_up += all(node.name != "factors" for node in folded.model.graph)
    assert taken_up


def _factors(operator: str, dims: list[int], axis: int) -> Tensor:
    """Return factors along an axis; for operators that repeat, what they make of one for each channel."""
    if operator not in REPEATING:
        shape = [extent if position == axis else 1 for position, extent in enumerate(dims)]
        return np.random.default_rng(axis).uniform(0.5, 2.0, shape)
    b = Builder()
    model = b.model(MIDDLES[operator](b, b.input(2, C, 4, 4)))
    channels = np.array([0.5, 0.75, 1.5, 2.0]).reshape(1, C, 1, 1)
    (factors,) = Oracle(model).run({"x": np.broadcast_to(channels, (2, C, 4, 4))}).values()
    for constant in (axis for axis in range(factors.ndim) if (factors == factors.take([0], axis=axis)).all()):
        factors = factors.take([0], axis=constant)
    return factors


def dims_of(b: Builder, y: str) -> list[int]:
    """Return the extents of a value."""
    return [dim.dim_value for dim in b.proto(y).graph.output[0].type.tensor_type.shape.dim]


@pytest.mark.parametrize("operator", sorted(set(MIDDLES) - {"Shape", "Size"}))
@pytest.mark.parametrize("objective", Objective)
def test_what_is_normalized_before_and_behind(operator: str, objective: Objective) -> None:
    """Normalizations with shifts, scales of both signs and zeros on both sides: right, whatever goes or stays."""
    for seed, gamma in enumerate([None, [-1.0, 0.0, 0.5, 1.5], [-1.0, 0.5, 1.5, -0.5], [-2.0, -0.5, 1.0, 1.0]]):
        for behind_a_conv in (True, False):
            b = Builder(seed=seed)
            x = b.input(2, C, 4, 4)
            x = b.batch_norm(b.conv(x, C, C, 1, 1) if behind_a_conv else x, C, gamma=gamma)
            y = MIDDLES[operator](b, x)
            normal = b.batch_norm(y, dims_of(b, y)[1])
            b.drop_dead([normal])
            fold_checked(b.model(normal), objective=objective)


@pytest.mark.parametrize("operator", sorted(set(MIDDLES) - {"Shape", "Size"}))
def test_a_negative_scale(operator: str) -> None:
    """Scales of both signs, and nothing but scales, on the way to a normalization that would take them all up."""
    b = Builder()
    x = b.batch_norm(b.input(2, C, 4, 4), C, **PLAIN, gamma=[1.0, -2.0, 0.5, -1.0])
    y = MIDDLES[operator](b, x)
    fold_checked(b.model(b.batch_norm(y, dims_of(b, y)[1])), objective=Objective.NO_BN)


@pytest.mark.parametrize("operator", sorted(set(MIDDLES) - {"Shape", "Size"}))
@pytest.mark.parametrize("axis", [2, 3])
def test_channels_on_another_axis(operator: str, axis: int) -> None:
    """What an operator mixes, pads or repeats along that axis are channels then: right, whatever goes or stays."""
    order = [0, 2, 1, 3] if axis == 2 else [0, 3, 2, 1]
    for fixed in ({}, SCALES, SHIFTS):
        for use in (MIDDLES[operator], *filter(None, [MIXERS.get(operator)])):
            b = Builder()
            x = b("Transpose", b.batch_norm(b.input(2, C, 4, 4), C, **fixed), perm=order)
            fold_checked(b.model(b("Mul", use(b, x), b.stored(0.5))), objective=Objective.NO_BN)


@pytest.mark.parametrize("operator", MIXERS)
def test_what_mixes_or_pads_among_normalizations(operator: str) -> None:
    """The same with channels where they are."""
    b = Builder()
    x = b.batch_norm(b.input(2, C, 4, 4), C)
    fold_checked(b.model(b.batch_norm(MIXERS[operator](b, x), C)), objective=Objective.NO_BN)


def _joined_with_a_value_that_is_held(b: Builder, kind: dict[str, Any]) -> str:
    return b.conv(b("Concat", b.batch_norm(b.input(2, C, 4, 4), C, **kind), b("Sigmoid", "x"), axis=2), C, 3, 1, 1)


def _at_least_a_value_that_is_held(b: Builder, kind: dict[str, Any]) -> str:
    return b.conv(b("Max", b.batch_norm(b.input(2, C, 4, 4), C, **kind), b("Sigmoid", "x")), C, 3, 1, 1)


def _at_most_a_value_that_is_held(b: Builder, kind: dict[str, Any]) -> str:
    return b.conv(b("Min", b.batch_norm(b.input(2, C, 4, 4), C, **kind), b("Sigmoid", "x")), C, 3, 1, 1)


def _replaced_in_places_by_a_value_that_is_held(b: Builder, kind: dict[str, Any]) -> str:
    mask = b.stored([True, False, True, True], dtype=np.bool_)
    return b.conv(b("Where", mask, b.batch_norm(b.input(2, C, 4, 4), C, **kind), b("Sigmoid", "x")), C, 3, 1, 1)


def _flattened_over_extents_that_are_not_known(b: Builder, kind: dict[str, Any]) -> str:
    return b("Flatten", b.batch_norm(b.input("N", C, "H", "W"), C, **kind))


def _reshaped_over_extents_that_are_not_known(b: Builder, kind: dict[str, Any]) -> str:
    return b("Reshape", b.batch_norm(b.input("N", C, "H", "W"), C, **kind), b.integers(-1, 2))


def _rows_of_a_gemm(b: Builder, kind: dict[str, Any]) -> str:
    return b("Gemm", b("Transpose", b.batch_norm(b.input(5, C), C, **kind), perm=[1, 0]), b.normal(5, 3))


@pytest.mark.parametrize(
    "network",
    [
        _joined_with_a_value_that_is_held,
        _at_least_a_value_that_is_held,
        _at_most_a_value_that_is_held,
        _replaced_in_places_by_a_value_that_is_held,
        _flattened_over_extents_that_are_not_known,
        _reshaped_over_extents_that_are_not_known,
        _rows_of_a_gemm,
    ],
)
@pytest.mark.parametrize("kind", [SCALES, SHIFTS], ids=["scales", "shifts"])
def test_channels_that_have_to_share_a_gauge(
    network: Callable[[Builder, dict[str, Any]], str], kind: dict[str, Any]
) -> None:
    """Where only a scale, or only a shift, tells them apart, and nothing else holds it."""
    b = Builder()
    fold_checked(b.model(network(b, kind)), objective=Objective.NO_BN)
