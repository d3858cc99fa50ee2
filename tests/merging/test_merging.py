"""Named blocks: which nodes become which, and which stay, for what reason."""

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from bnfold.folding import fold
from bnfold.merging import Hindrance, MergeReport, Rule, merge
from tests.folding.builder import Builder
from tests.folding.checker import check_results, random_inputs
from tests.merging.checker import merge_checked, operators

C, SPATIAL = 6, (9, 8)


def image(builder: Builder, channels: int = C) -> str:
    """Declare an input of static extents."""
    return builder.input("N", channels, *SPATIAL)


def rules(report: MergeReport) -> list[Rule]:
    """Return what was done, in order."""
    return [step.rule for step in report.merges]


def hindrances(report: MergeReport) -> list[Hindrance]:
    """Return why additions stayed."""
    return [stays.hindrance for stays in report.unmerged]


def attributes(model: ir.Model, index: int = 0) -> dict[str, Any]:
    """Return the attributes of the ``index``-th Conv."""
    conv = [node for node in model.graph if node.op_type == "Conv"][index]
    return {name: attribute.value for name, attribute in conv.attributes.items()}


# Parallel


def test_a_repvgg_block_is_one_conv() -> None:
    """3×3, 1×1 and identity, each normalized, one γ negative: one Conv and a Relu, under the names that were there."""
    b = Builder()
    x = image(b)
    dense = b.batch_norm(b.conv(x, C, C, 3, 3, pads=[1] * 4, bias=False), C)
    pointwise = b.batch_norm(b.conv(x, C, C, 1, 1, bias=False), C, gamma=np.linspace(-1, 1, C))
    total = b("Add", b("Add", dense, pointwise), b.batch_norm(x, C))
    model = b.model(b("Relu", total))
    merged, report = merge_checked(model)
    assert operators(merged) == ["Conv", "Relu"]
    assert list(merged.graph.initializers) == ["weight_1", "conv_2.bias_merged"]
    (step,) = report.merges
    assert (step.rule, step.into) == (Rule.PARALLEL, ("conv_2",))
    assert len(step.nodes) == 7
    assert (step.work_before, step.work_after) == (360, 324)


def test_folding_and_merging_leave_one_conv_a_block() -> None:
    """Behind a fold, which has rewritten the branches, also where a γ keeps a normalization from being folded."""
    b = Builder()
    x = image(b)
    for gamma in (1.0, -1.0):
        dense = b.batch_norm(b.conv(x, C, C, 3, 3, pads=[1] * 4, bias=False), C)
        x = b("Relu", b("Add", dense, b.batch_norm(x, C, gamma=np.full(C, gamma))))
    model = b.model(x)
    candidate = model.clone()
    fold(candidate)
    merge(candidate)
    assert operators(candidate) == ["Conv", "Relu", "Conv", "Relu"]
    check_results(model, candidate, random_inputs(model))


def test_a_mobileone_block_stays_depthwise() -> None:
    """Depthwise kernels of several sizes and the identity become one depthwise Conv."""
    b = Builder()
    x = image(b)
    branches = [b.conv(x, C, C, k, k, group=C, pads=[k // 2] * 4) for k in (3, 3, 1, 5)]
    merged, _ = merge_checked(b.model(b("Relu", b("Sum", *branches, b.batch_norm(x, C)))))
    assert operators(merged) == ["Conv", "Relu"]
    assert (attributes(merged)["group"], list(attributes(merged)["kernel_shape"])) == (C, [5, 5])


def test_a_diverse_branch_block_is_one_conv() -> None:
    """1×1 then 3×3, 1×1 then a mean, 3×3 and 1×1 (DBB), padding where no bias lies below."""
    b = Builder()
    x = image(b)
    deep = b.conv(b.conv(x, C, 4, 1, 1, bias=False), 4, C, 3, 3, pads=[1] * 4)
    mean = b("AveragePool", b.conv(x, C, C, 1, 1, bias=False), kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    plain = b("Add", b.conv(x, C, C, 3, 3, pads=[1] * 4), b.conv(x, C, C, 1, 1))
    merged, _ = merge_checked(b.model(b("Relu", b("Add", b("Add", deep, b.batch_norm(mean, C)), plain))))
    assert operators(merged) == ["Conv", "Relu"]


def test_a_token_mixer_is_one_depthwise_conv() -> None:
    """x + λ·(mix(x) − norm(x)), as FastViT says it."""
    b = Builder()
    x = image(b)
    mixed = b.batch_norm(b.conv(x, C, C, 3, 3, group=C, pads=[1] * 4), C)
    scaled = b("Mul", b("Sub", mixed, b.batch_norm(x, C)), b.normal(C, 1, 1))
    merged, _ = merge_checked(b.model(b("Relu", b("Add", x, scaled))))
    assert operators(merged) == ["Conv", "Relu"]


@pytest.mark.parametrize("opens", [True, False])
def test_strided_branches_with_even_extents(opens: bool) -> None:
    """1×1 and 2×2 at stride 2 agree on extents that are even, and on no other: only known extents tell."""
    b = Builder()
    x = b.input("N", C, *(("H", "W") if opens else (8, 6)))
    branches = [b.conv(x, C, C, k, k, strides=[2, 2]) for k in (1, 2)]
    model = b.model(b("Relu", b("Add", *branches)))
    inputs = {"x": np.random.default_rng(0).normal(size=(2, C, 8, 6))}
    merged, report = merge_checked(model, inputs)
    assert operators(merged) == (["Conv", "Conv", "Add", "Relu"] if opens else ["Conv", "Relu"])
    assert hindrances(report) == ([Hindrance.PADS] if opens else [])


@pytest.mark.parametrize(
    ("mode", "stride", "opens"), [("SAME_UPPER", 2, False), ("SAME_LOWER", 1, True), ("VALID", 1, True)]
)
def test_automatic_padding(mode: str, stride: int, opens: bool) -> None:
    """SAME at stride 1 needs no extent, at stride 2 it does; VALID pads nothing."""
    b = Builder()
    x = b.input("N", C, *(("H", "W") if opens else SPATIAL))
    first = b.conv(x, C, C, 3, 3, auto_pad=mode, strides=[stride] * 2)
    second = b.conv(x, C, C, 3, 3, auto_pad=mode, strides=[stride] * 2)
    merged, _ = merge_checked(b.model(b("Relu", b("Add", first, second))))
    assert operators(merged) == ["Conv", "Relu"]


def test_uneven_pads_and_dilations_share_a_grid() -> None:
    """A 3×3 at dilation 2 and a 2×2 padded on one side are taps of one kernel."""
    b = Builder()
    x = image(b, 1)
    wide = b.conv(x, 1, 4, 3, 3, dilations=[2, 2], pads=[2, 2, 2, 2])
    aside = b.conv(x, 1, 4, 2, 2, pads=[0, 1, 1, 0])
    merged, _ = merge_checked(b.model(b("Relu", b("Sub", wide, aside))))
    assert operators(merged) == ["Conv", "Relu"]


def test_a_linear_chain_of_blocks_merges_through() -> None:
    """What becomes readable once only by one merge is merged by the next."""
    b = Builder()
    x = image(b)
    for _ in range(2):
        x = b("Add", b.conv(x, C, C, 1, 1), x)
    merged, report = merge_checked(b.model(x))
    assert operators(merged) == ["Conv"]
    assert rules(report) == [Rule.PARALLEL, Rule.PARALLEL, Rule.SEQUENTIAL]


# Parallel, and yet not


def test_a_value_read_elsewhere_stays() -> None:
    """The intermediate of a branch is also read by a Sigmoid."""
    b = Builder()
    x = image(b)
    first = b.conv(x, C, C, 1, 1)
    model = b.model(b("Relu", b("Add", first, b.conv(x, C, C, 3, 3, pads=[1] * 4))), b("Sigmoid", first))
    merged, report = merge_checked(model)
    assert operators(merged) == operators(model)
    assert hindrances(report) == [Hindrance.SHARED]
    assert "conv_3_out is read by other nodes too" in report.unmerged[0].detail


def test_a_graph_output_within_stays() -> None:
    """The intermediate of a branch is an output of the graph."""
    b = Builder()
    x = image(b)
    first = b.conv(x, C, C, 1, 1)
    model = b.model(first, b("Relu", b("Add", first, x)))
    merged, report = merge_checked(model)
    assert operators(merged) == operators(model)
    assert hindrances(report) == [Hindrance.OUTPUT]


def test_a_graph_output_at_the_end_keeps_its_name() -> None:
    """The sum itself is an output, twice read."""
    b = Builder()
    x = image(b)
    total = b("Add", b.conv(x, C, C, 1, 1), x)
    merged, _ = merge_checked(b.model(total, b("Relu", total)))
    assert operators(merged) == ["Conv", "Relu"]


def test_a_value_that_a_subgraph_reads_stays() -> None:
    """A branch of If reads the intermediate by its name."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (double[N, 2, 4, 4] x, bool c) => (double[N, 2, 4, 4] y, double[N, 2, 4, 4] z)
        <double[2, 2, 1, 1] w = {1, 2, 3, 4}> {
            a = Conv(x, w) y = Add(a, x)
            z = If(c) <then_branch = t () => (double[N, 2, 4, 4] p) { p = Relu(a) },
                       else_branch = e () => (double[N, 2, 4, 4] q) { q = Neg(a) }> }"""
    model = ir.from_proto(parser.parse_model(text))
    inputs = {"x": np.random.default_rng(0).normal(size=(2, 2, 4, 4)), "c": np.array(True)}
    merged, _ = merge_checked(model, inputs)
    assert operators(merged) == ["Conv", "Add", "If"]


def test_a_branch_that_pads_above_a_bias_stays() -> None:
    """It is no one convolution of what both branches read."""
    b = Builder()
    x = image(b)
    deep = b.conv(b.conv(x, C, C, 1, 1), C, C, 3, 3, pads=[1] * 4)
    merged, report = merge_checked(b.model(b("Relu", b("Add", deep, b.conv(x, C, C, 1, 1)))))
    assert operators(merged).count("Conv") == 3
    assert hindrances(report) == [Hindrance.BORDER]
    assert "the second pads with zeros where the first has a bias" in report.unmerged[0].detail


def test_strides_that_differ_stay() -> None:
    """A stride of 2 along an axis of extent 1 gives the same shape, and another lattice."""
    b = Builder()
    x = b.input("N", C, 9, 1)
    first, second = b.conv(x, C, C, 1, 1, strides=[1, 2]), b.conv(x, C, C, 1, 1)
    merged, report = merge_checked(b.model(b("Relu", b("Add", first, second))))
    assert operators(merged) == ["Conv", "Conv", "Add", "Relu"]
    assert hindrances(report) == [Hindrance.STRIDES]


def test_broadcast_channels_stay() -> None:
    """One channel added to all of them is no sum of convolutions of equal shape."""
    b = Builder()
    x = image(b)
    merged, _ = merge_checked(b.model(b("Relu", b("Add", b.conv(x, C, 1, 1, 1), b.conv(x, C, C, 1, 1)))))
    assert operators(merged) == ["Conv", "Conv", "Add", "Relu"]


def test_branches_that_are_cheaper_apart_stay() -> None:
    """A depthwise Conv beside a dense 1×1 would become dense, at several times the work."""
    b = Builder()
    x = image(b, 64)
    depthwise = b.conv(x, 64, 64, 3, 3, group=64, pads=[1] * 4)
    model = b.model(b("Relu", b("Add", depthwise, b.conv(x, 64, 64, 1, 1))))
    merged, report = merge_checked(model)
    assert operators(merged) == operators(model)
    assert hindrances(report) == [Hindrance.COST]


def test_a_residual_around_a_nonlinear_operator_stays_and_is_not_reported() -> None:
    """The branches read different values."""
    b = Builder()
    x = image(b)
    inner = b("Relu", b.conv(x, C, C, 3, 3, pads=[1] * 4))
    model = b.model(b("Add", b.conv(inner, C, C, 3, 3, pads=[1] * 4), x))
    merged, report = merge_checked(model)
    assert operators(merged) == operators(model)
    assert not report.unmerged


@pytest.mark.parametrize(("dtype", "size"), [(np.float16, 4e4), (ml_dtypes.bfloat16, 3e38), (np.float16, 2e-5)])
def test_numbers_that_the_type_cannot_hold_stay(dtype: Any, size: float) -> None:
    """A sum overflows, or two kernels cancel to a remainder below the normal range."""
    b = Builder(dtype=dtype, opset=22, ir_version=10)
    x = image(b)
    first, second = np.full((C, C, 1, 1), size), np.full((C, C, 1, 1), size if size > 1 else -0.9 * size)
    if size < 1:
        first, second = first * 4, second * 4
    total = b("Add", b("Conv", x, b.stored(first)), b("Conv", x, b.stored(second)))
    model = b.model(b("Relu", total))
    candidate = model.clone()
    report = merge(candidate)
    assert operators(candidate) == ["Conv", "Conv", "Add", "Relu"]
    assert hindrances(report) == [Hindrance.RANGE]
    assert ("overflows" if size > 1 else "underflows") in report.unmerged[0].detail
    assert ir.to_proto(candidate) == ir.to_proto(model)


def test_half_precision_is_rounded_once() -> None:
    """The stored weight is the float64 sum of the stored ones, rounded to nearest."""
    b = Builder(dtype=np.float16)
    x = image(b)
    total = b("Sum", *(b("Conv", x, b.normal(C, C, 1, 1)) for _ in range(3)))
    model = b.model(b("Relu", total))
    exact = sum(array.astype(np.float64) for array in b.tensors.values())
    candidate = model.clone()
    merge(candidate)
    (weight,) = [value.const_value for value in candidate.graph.initializers.values() if value.const_value]
    np.testing.assert_array_equal(weight.numpy(), np.asarray(exact).astype(np.float16))


def test_weights_that_a_caller_may_replace_stay() -> None:
    """An initializer that is also an input is a default."""
    b = Builder()
    x = image(b)
    model = b.model(b("Relu", b("Add", b.conv(x, C, C, 1, 1, bias=False), x)))
    model.graph.inputs.append(model.graph.initializers["weight_1"])
    assert not merge(model).merges


def test_initializers_of_old_files_are_constants() -> None:
    """IR version 3 lists initializers among the inputs; what is new is listed, what is unused is not."""
    b = Builder(ir_version=3, opset=8)
    x = image(b)
    model = b.model(b("Relu", b("Add", b.conv(x, C, C, 3, 3, pads=[1] * 4), b.batch_norm(x, C))))
    merged, _ = merge_checked(model)
    assert operators(merged) == ["Conv", "Relu"]
    assert {value.name for value in merged.graph.inputs} == {"x", *merged.graph.initializers}


def test_a_shared_weight_is_copied() -> None:
    """Another Conv goes on reading the old numbers."""
    b = Builder()
    x, weight = image(b), b.normal(C, C, 1, 1)
    y = b("Relu", b("Add", b("Conv", x, weight), x))
    merged, _ = merge_checked(b.model(b("Conv", y, weight)))
    assert list(merged.graph.initializers) == [weight, f"{weight}_merged"]


def test_normalization_by_the_minibatch_stays() -> None:
    """In training mode a BatchNormalization is no map of constants."""
    b = Builder()
    x = image(b)
    normal = b.batch_norm(b.conv(x, C, C, 1, 1), C, training_mode=1, outputs=3)
    model = b.model(b("Relu", normal))
    assert not merge(model).merges


# Sequential


def test_pointwise_then_spatial_is_one_where_it_is_cheaper() -> None:
    """An expansion by four in between costs more than the product of the two."""
    b = Builder()
    x = image(b)
    model = b.model(b.conv(b.conv(x, C, 4 * C, 1, 1), 4 * C, C, 3, 3))
    merged, report = merge_checked(model)
    assert operators(merged) == ["Conv"]
    assert rules(report) == [Rule.SEQUENTIAL]


def test_a_bottleneck_stays_two() -> None:
    """A narrow value in between is what makes the pair cheap."""
    b = Builder()
    x = image(b, 32)
    model = b.model(b.conv(b.conv(x, 32, 2, 3, 3), 2, 32, 1, 1))
    merged, _ = merge_checked(model)
    assert operators(merged) == ["Conv", "Conv"]


@pytest.mark.parametrize("bias", [True, False])
def test_padding_between_needs_zeros_below(bias: bool) -> None:
    """The second Conv pads with zeros; the first one's bias would be there instead."""
    b = Builder()
    x = image(b)
    model = b.model(b.conv(b.conv(x, C, 4 * C, 1, 1, bias=bias), 4 * C, C, 3, 3, pads=[1] * 4))
    merged, _ = merge_checked(model)
    assert operators(merged) == (["Conv", "Conv"] if bias else ["Conv"])


def test_padding_behind_a_kernel_that_reaches_across_stays() -> None:
    """Beyond its end an unpadded 3×3 goes on reading its input: not zeros."""
    b = Builder()
    x = image(b, 1)
    model = b.model(b.conv(b.conv(x, 1, 8, 3, 3, bias=False), 8, 1, 3, 3, pads=[1] * 4))
    merged, _ = merge_checked(model)
    assert operators(merged) == ["Conv", "Conv"]


def test_strides_and_dilations_multiply() -> None:
    """Stride 2, then dilation 3, across a wide value in between."""
    b = Builder()
    x = b.input("N", 1, 23, 19)
    model = b.model(b.conv(b.conv(x, 1, 16, 1, 1, strides=[2, 2]), 16, 1, 2, 2, dilations=[3, 3], strides=[2, 1]))
    merged, _ = merge_checked(model)
    assert operators(merged) == ["Conv"]
    assert list(attributes(merged)["dilations"]) == [6, 6]
    assert list(attributes(merged)["strides"]) == [4, 2]


# Constants and padding


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (1,), (C, 1, 1), (1, C, 1, 1)])
def test_constants_go_into_the_conv(operator: str, shape: tuple[int, ...]) -> None:
    """One number, or one a channel, in every shape that broadcasts to it."""
    b = Builder()
    model = b.model(b(operator, b.conv(image(b), C, C, 3, 3, pads=[1] * 4), b.positive(*shape)))
    merged, report = merge_checked(model)
    assert operators(merged) == ["Conv"]
    assert rules(report) == [Rule.AFFINE]


@pytest.mark.parametrize("shape", [(8,), (9, 1), (2, C, 1, 1), (1, 1, C, 1, 1)])
def test_other_constants_stay(shape: tuple[int, ...]) -> None:
    """A constant that varies along other axes, or makes the result larger."""
    b = Builder()
    x = b.input(2, C, *SPATIAL)
    model = b.model(b("Add", b.conv(x, C, C, 1, 1), b.normal(*shape)))
    assert not merge(model).merges


def test_a_constant_minus_a_value() -> None:
    """The sign goes into the weights."""
    b = Builder()
    model = b.model(b("Sub", b.normal(C, 1, 1), b.conv(image(b), C, C, 1, 1)))
    assert operators(merge_checked(model)[0]) == ["Conv"]


def test_a_constant_divided_by_a_value_stays() -> None:
    """It is not linear."""
    b = Builder()
    model = b.model(b("Div", b.normal(C, 1, 1), b.conv(image(b), C, C, 1, 1)))
    assert not merge(model).merges


@pytest.mark.parametrize("opset", [10, 17])
def test_zeros_go_into_the_pads(opset: int) -> None:
    """Pad by attribute in old operator sets, by input in newer ones; its zeros and the Conv's own add up."""
    b = Builder(opset=opset)
    pads = [0, 0, 1, 2, 0, 0, 0, 3]
    x = image(b)
    padded = b("Pad", x, pads=pads) if opset < 11 else b("Pad", x, b.integers(*pads))
    merged, report = merge_checked(b.model(b.conv(padded, C, C, 3, 3, pads=[1, 0, 0, 1])))
    assert operators(merged) == ["Conv"]
    assert rules(report) == [Rule.PADDING]
    assert list(attributes(merged)["pads"]) == [2, 2, 0, 4]


@pytest.mark.parametrize(
    ("pads", "others"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], {"mode": "reflect"}),
        ([0, 0, 1, 1, 0, 0, 1, 1], {"value": 0.5}),
        ([0, 0, -1, 1, 0, 0, 1, 1], {}),
        ([0, 1, 1, 1, 0, 1, 1, 1], {}),
    ],
)
def test_other_padding_stays(pads: list[int], others: dict[str, Any]) -> None:
    """Reflection, a value, a crop, and channels of zeros."""
    b = Builder()
    operands = [b.stored(others.pop("value"))] if "value" in others else []
    padded = b("Pad", image(b), b.integers(*pads), *operands, **others)
    model = b.model(b.conv(padded, C + pads[1] + pads[5], C, 3, 3))
    assert not merge(model).merges


def test_a_lone_map_becomes_no_conv() -> None:
    """Merging makes no Conv where there was none."""
    b = Builder()
    model = b.model(b("Add", b("Mul", image(b), b.normal(C, 1, 1)), b.normal(C, 1, 1)))
    assert not merge(model).merges


def test_linear_layers_of_rank_two_stay() -> None:
    """(N, K) has no spatial axes; its Add is no Conv's."""
    b = Builder()
    model = b.model(b.matmul(b.input("N", 4), 4, 3))
    assert not merge(model).merges


# Pooling


@pytest.mark.parametrize("operator", ["Max", "Min"])
def test_a_threshold_moves_behind_a_pool(operator: str) -> None:
    """One constant a channel, on the left or on the right; it then works on a quarter of the elements."""
    b = Builder()
    pads = [1, 1, 1, 1]
    x = b(operator, b.normal(C, 1, 1), image(b))
    model = b.model(b("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=pads))
    merged, report = merge_checked(model)
    assert operators(merged) == ["MaxPool", operator]
    assert rules(report) == [Rule.THRESHOLD]


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Relu", {"strides": [2, 2]}),
        ("Max", {}),
        ("Max", {"strides": [2, 2], "dilations": [2, 2], "pads": [2, 2, 2, 2]}),
        ("Max", {"strides": [2, 2], "ceil_mode": 1}),
    ],
)
def test_other_thresholds_stay(operator: str, attributes: dict[str, Any]) -> None:
    """A Relu; a pool that does not shrink; windows that may hold nothing but padding."""
    b = Builder()
    x = b(operator, image(b), *([b.normal(C, 1, 1)] if operator == "Max" else []))
    model = b.model(b("MaxPool", x, kernel_shape=[3, 3], **attributes))
    assert not merge(model).merges


def test_a_threshold_read_twice_stays() -> None:
    """Its result is also an output of the graph."""
    b = Builder()
    x = b("Max", image(b), b.normal(C, 1, 1))
    model = b.model(x, b("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    assert not merge(model).merges


@pytest.mark.parametrize(("counted", "pads", "moves"), [(0, 1, True), (1, 0, True), (1, 1, False)])
def test_a_mean_moves_before_a_pointwise_conv(counted: int, pads: int, moves: bool) -> None:
    """Unless counted zeros would be taken for the bias."""
    b = Builder()
    y = b.conv(image(b, 32), 32, 32, 1, 1)
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [pads] * 4}
    merged, report = merge_checked(b.model(b("AveragePool", y, count_include_pad=counted, **pool)))
    assert (Rule.POOLING in rules(report)) is moves
    assert operators(merged) == (["AveragePool", "Conv"] if moves else ["Conv", "AveragePool"])


@pytest.mark.parametrize(("channels", "moves"), [(48, True), (40, False)])
def test_a_mean_over_more_channels_has_its_price(channels: int, moves: bool) -> None:
    """What the Conv saves that leaves half of the channels is more than blocks cost, and less than planes."""
    b = Builder()
    y = b.conv(image(b, channels), channels, channels // 2, 1, 1)
    report = merge(b.model(b("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])))
    assert (Rule.POOLING in rules(report)) is moves


def test_a_mean_stays_behind_a_conv_that_makes_few_channels() -> None:
    """Of 32 channels 2 are left, and the mean at stride 1 saves the Conv nothing."""
    b = Builder()
    y = b.conv(image(b, 32), 32, 2, 1, 1)
    pool = b("AveragePool", y, kernel_shape=[3, 3], pads=[1] * 4)
    model = b.model(pool)
    assert not merge(model).merges
