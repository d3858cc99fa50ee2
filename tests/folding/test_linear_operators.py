"""Conv, ConvTranspose, Gemm and MatMul with everything that their specifications allow, gauges on both sides."""

from typing import Any

import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.folding import Objective, Reason, fold
from tests.folding.builder import Builder
from tests.folding.checker import Folded, fold_checked


def between(b: Builder, x: str, channels: int) -> str:
    """Return a value whose scale and shift are free on neither side: Sigmoid → BN."""
    return b.batch_norm(b("Sigmoid", x), channels)


def gone(folded: Folded) -> bool:
    """Whether all normalizations are gone."""
    return folded.count("BatchNormalization") == 0


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize(("inputs", "outputs", "group"), [(4, 6, 1), (4, 6, 2), (4, 4, 4), (2, 6, 2), (1, 3, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_conv(spatial: int, inputs: int, outputs: int, group: int, bias: bool) -> None:
    """Conv of one to three dimensions, dense, grouped, depthwise and with a depth multiplier, between two BNs."""
    b = Builder()
    x = between(b, b.input("N", inputs, *[6, 5, 4][:spatial]), inputs)
    kernel = [3, 2, 1][:spatial]
    strided: dict[str, Any] = {"strides": [1, 2, 1][:spatial], "dilations": [2, 1, 1][:spatial]}
    y = b.batch_norm(b.conv(x, inputs, outputs, *kernel, bias=bias, group=group, **strided), outputs)
    assert gone(fold_checked(b.model(b("Sigmoid", y))))


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize(("inputs", "per_group", "group"), [(4, 3, 1), (4, 3, 2), (4, 1, 4), (2, 3, 2), (1, 3, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_conv_transpose(spatial: int, inputs: int, per_group: int, group: int, bias: bool) -> None:
    """ConvTranspose likewise; in front of it a normalization without shift."""
    b = Builder()
    x = b("Mul", b("Sigmoid", b.input("N", inputs, *[3, 4, 2][:spatial])), b.positive(inputs, *[1] * spatial))
    weight = b.normal(inputs, per_group, *[2, 3, 1][:spatial])
    biases = [b.normal(group * per_group)] if bias else []
    attributes: dict[str, Any] = {"strides": [2, 3, 1][:spatial], "output_padding": [1, 0, 0][:spatial]}
    y = b("ConvTranspose", x, weight, *biases, group=group, **attributes)
    folded = fold_checked(b.model(b("Sigmoid", b.batch_norm(y, group * per_group))))
    assert gone(folded)
    assert folded.count("Mul") == 0


def test_conv_transpose_carries_no_shift() -> None:
    """Its taps differ by position: BN with a shift in front of it is kept, and it is named."""
    b = Builder()
    x = between(b, b.input("N", 4, 3, 5), 4)
    folded = fold_checked(b.model(b("ConvTranspose", x, b.normal(4, 2, 2, 3), strides=[2, 1])))
    (outcome,) = folded.report.batch_norms
    assert outcome.reason is Reason.SHIFT_FIXED
    assert "ConvTranspose" in (outcome.witness or "")


PADDINGS: dict[str, dict[str, Any]] = {
    "pads": {"pads": [0, 0, 0, 1]},
    "upper": {"auto_pad": "SAME_UPPER"},
    "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
}


@pytest.mark.parametrize("padding", PADDINGS)
def test_padding_holds_the_shift(padding: str) -> None:
    """Wherever a zero can reach the input, on one side only or by auto_pad, a shift of the input has its price."""
    b = Builder()
    x = between(b, b.input("N", 4, 6, 5), 4)
    folded = fold_checked(b.model(b.conv(x, 4, 3, 3, 3, **PADDINGS[padding])))
    (outcome,) = folded.report.batch_norms
    assert outcome.reason is Reason.SLOWER
    assert "(one shift a channel, none under zero padding)" in (outcome.witness or "")


def test_a_scale_for_each_place_is_more_than_a_convolution_takes() -> None:
    """Also without any padding; the words are those for scales."""
    b = Builder()
    places = b("Transpose", between(b, b.input("N", 4, 3, 5), 4), perm=[0, 2, 1, 3])
    folded = fold_checked(b.model(b.conv(places, 3, 2, 1, 1)))
    (outcome,) = folded.report.batch_norms
    assert outcome.reason is Reason.SCALE_FIXED
    assert "(one scale a channel)" in (outcome.witness or "")


@pytest.mark.parametrize("padding", PADDINGS)
def test_padding_lets_the_scale_pass(padding: str) -> None:
    """Zero times anything is zero: a normalization without shift goes into a padded Conv."""
    b = Builder()
    x = b("Mul", b("Sigmoid", b.input("N", 4, 6, 5)), b.positive(4, 1, 1))
    folded = fold_checked(b.model(b.conv(x, 4, 3, 3, 3, **PADDINGS[padding])))
    assert folded.count("Mul") == 0


@pytest.mark.parametrize("auto_pad", ["VALID", "NOTSET", "SAME_UPPER", "SAME_LOWER"])
def test_auto_pad_that_pads_nothing(auto_pad: str) -> None:
    """VALID and NOTSET pad nothing, SAME nothing around a kernel of one tap."""
    b = Builder()
    x = between(b, b.input("N", 4, 6, 5), 4)
    assert gone(fold_checked(b.model(b.conv(x, 4, 3, 1, 1, auto_pad=auto_pad))))


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("c", [None, (5,), (1, 5), (1,), (), (1, 1)])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, -2.0), (-1.5, 0.0)])
def test_gemm(trans_a: int, trans_b: int, c: tuple[int, ...] | None, alpha: float, beta: float) -> None:
    """Gemm with both factors, both transpositions and C of every shape, BN with a shift on both sides."""
    b = Builder()
    x = between(b, b.input(4, 3), 3)
    if trans_a:
        x = b("Transpose", x)
    operands = [x, b.normal(*((5, 3) if trans_b else (3, 5))), *([] if c is None else [b.normal(*c)])]
    y = b("Gemm", *operands, alpha=alpha, beta=beta, transA=trans_a, transB=trans_b)
    assert gone(fold_checked(b.model(b("Sigmoid", b.batch_norm(y, 5)))))


@pytest.mark.parametrize("c", [(4, 1), (4, 5)])
def test_gemm_whose_c_varies_from_row_to_row(c: tuple[int, ...]) -> None:
    """C that is no bias: what is around it stays right."""
    b = Builder()
    x = b.batch_norm(b("Gemm", between(b, b.input(4, 3), 3), b.normal(3, 5), b.normal(*c)), 5)
    fold_checked(b.model(b("Sigmoid", x)))


def test_gemm_that_ignores_its_input() -> None:
    """alpha = 0 leaves β·C alone."""
    b = Builder()
    y = b("Gemm", between(b, b.input(4, 3), 3), b.normal(3, 5), b.normal(5), alpha=0.0)
    fold_checked(b.model(b("Sigmoid", b.batch_norm(y, 5))))


@pytest.mark.parametrize("dims", [(3,), ("N", 3), ("N", 5, 3), (2, "M", 5, 3), ("N", 2, 4, 5, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_matmul_of_any_rank(dims: tuple[int | str, ...], bias: bool) -> None:
    """MatMul of a vector up to rank 5: channels on the last axis, gauges on both sides, one Add as bias at most."""
    b = Builder()
    x = b("Sub", b("Mul", b("Sigmoid", b.input(*dims)), b.positive(3)), b.normal(3))
    y = b("Add", b("Mul", b.matmul(x, 3, 4, bias=bias), b.positive(4)), b.normal(4))
    folded = fold_checked(b.model(b("Sigmoid", y)))
    assert (folded.count("Mul"), folded.count("Sub"), folded.count("Add")) == (0, 0, 1)


def test_matmul_gets_a_bias_only_where_it_needs_one() -> None:
    """A scale alone leaves no Add behind a MatMul that had none."""
    b = Builder()
    y = b("Mul", b.matmul(b("Mul", b.input("N", 3), b.positive(3)), 3, 4, bias=False), b.positive(4))
    folded = fold_checked(b.model(b("Sigmoid", y)))
    assert (folded.count("Mul"), folded.count("Add")) == (0, 0)


@pytest.mark.parametrize("order", [("weight", "value"), ("value", "weight")])
def test_matmul_on_either_side(order: tuple[str, str]) -> None:
    """W·x mixes rows and x·W features: only the latter absorbs gauges of the last axis."""
    b = Builder()
    x = between(b, b.input(2, 4, 4), 4)
    operands = {"weight": b.normal(4, 4), "value": b("Transpose", x, perm=[0, 2, 1])}
    y = b("MatMul", *(operands[name] for name in order))
    folded = fold_checked(b.model(b("Sigmoid", y)))
    assert gone(folded) == (order == ("value", "weight"))


def test_matmul_of_a_stack_of_weights() -> None:
    """A weight of rank 3 is a batch of matrices: left alone, and what is around it right."""
    b = Builder()
    y = b("MatMul", b.batch_norm(b("Sigmoid", b.input(2, 5, 3)), 5), b.normal(2, 3, 4))
    fold_checked(b.model(b("Sigmoid", b.batch_norm(y, 5))))


def test_vector_times_matrix_of_activations() -> None:
    """A vector on the left lowers the rank."""
    b = Builder()
    matrix = b.matmul(b.input(3, 5), 5, 4, bias=False)
    y = b("MatMul", b.input(3, name="vector"), matrix)
    fold_checked(b.model(b("Sigmoid", b("Mul", y, b.positive(4)))))


def test_attention() -> None:
    """softmax(Q·Kᵀ)·V with BN-scaled Q, K and V."""
    b = Builder()
    x = b.input("N", 5, 3)
    query, key, value = (b("Mul", b.matmul(x, 3, 4), b.positive(4)) for _ in range(3))
    weights = b("Softmax", b("MatMul", query, b("Transpose", key, perm=[0, 2, 1])))
    y = b.matmul(b("Mul", b("MatMul", weights, value), b.positive(4)), 4, 3)
    folded = fold_checked(b.model(b("Sigmoid", y)))
    assert folded.count("Mul") <= 2


def test_dynamic_convolution() -> None:
    """A Conv whose weight is computed keeps input, weight and output as they are."""
    b = Builder()
    weight = b("Mul", b.input(4, 3, 2, 2, name="kernel"), b.positive(4, 1, 1, 1))
    x = b.batch_norm(b.conv(b.input("N", 2, 5, 4), 2, 3, 1, 1), 3)
    folded = fold_checked(b.model(b("Relu", b.batch_norm(b("Conv", x, weight), 4))))
    assert [outcome.removed for outcome in folded.report.batch_norms] == [True, False]


def test_shifts_that_cancel_but_for_rounding() -> None:
    """A bias per feature between a MatMul and normalizations over another axis: what contradicts is not solved by 10¹⁵.

    The MatMul's product is read by a Conv over axis 1 as well, which makes its gauge one for all features; the Add's
    constants differ from feature to feature. Found by the random graphs.
    """
    b = Builder(seed=3)
    x = b.input("N", 5, 4)
    product = b("MatMul", x, b.normal(4, 2))
    normal = b.batch_norm(b("Add", b.normal(2), product), 5)
    y = b.batch_norm(b.conv(product, 5, 3, 1), 3)
    fold_checked(b.model(b.batch_norm(normal, 5), y))


@pytest.mark.parametrize("attributes", [{"pads": [1, 1, 0, 0]}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}])
def test_a_border_that_is_the_same_everywhere(attributes: dict[str, Any]) -> None:
    """Where all output positions lack the same taps, or none, what the border lacks is part of the bias: no Add."""
    b = Builder()
    extent = 1 if "pads" in attributes else 4
    x = between(b, b.input("N", 4, extent, extent), 4)
    folded = fold_checked(b.model(b.conv(x, 4, 3, 2, 2, **attributes)), objective=Objective.NO_BN)
    assert gone(folded)
    assert folded.count("Add") == 0


def test_a_border_map() -> None:
    """What a border lacks is added behind, position by position: strides, dilations, groups and uneven pads."""
    uneven: dict[str, Any] = {"strides": [2, 1], "pads": [2, 0, 1, 1]}
    dilated: dict[str, Any] = {"dilations": [1, 2], "pads": [1, 2, 0, 1]}
    same: dict[str, Any] = {"auto_pad": "SAME_LOWER"}
    for attributes in (uneven, dilated, same):
        b = Builder()
        x = between(b, b.input("N", 4, 7, 6), 4)
        y = b("Relu", b.batch_norm(b.conv(x, 4, 6, 3, 2, group=2, **attributes), 6))
        folded = fold_checked(b.model(y), objective=Objective.NO_BN)
        assert gone(folded)
        assert folded.count("Add") == 1


def test_a_border_of_dynamic_extent() -> None:
    """Without static extents there is no map: kept, though all are to go."""
    b = Builder()
    x = between(b, b.input("N", 4, "H", "W"), 4)
    folded = fold_checked(b.model(b.conv(x, 4, 3, 3, 3, pads=[1, 1, 1, 1])), objective=Objective.NO_BN)
    (outcome,) = folded.report.batch_norms
    assert outcome.reason is Reason.SHIFT_FIXED


def test_a_weight_for_other_channels_than_the_input_has() -> None:
    """A Conv for three channels of an input of five is an error of the file, not a reason to keep a normalization."""
    b = Builder()
    model = b.model(b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3))
    model.graph.inputs[0].shape = ir.Shape(["N", 5, 6, 5])
    with pytest.raises(InputError, match=r"Conv conv_\d+: .* 3 channels, x has 5"):
        fold(model)


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("layout", [0, 1])
def test_recurrent_operators(operator: str, gates: int, layout: int) -> None:
    """The BN before goes into W and b: without a bias before, with lengths, and with a state that stays as it is."""
    b = Builder()
    x = b("Transpose", b.batch_norm(b.input(3, 4, 5), 4), perm=[0, 2, 1])
    weights, state = [b.normal(1, gates * 2, 4), b.normal(1, gates * 2, 2)], b.normal(1, 5, 2)
    if layout:
        state = b.normal(3, 1, 2)
    lengths = b.stored([3, 1, 2] if layout else [3, 1, 2, 3, 0], dtype="int32")
    y = b(operator, x, *weights, None, lengths, state, hidden_size=2, layout=layout)
    folded = fold_checked(b.model(y))
    assert folded.count("BatchNormalization") == 0
    assert folded.weight(operator, 3).shape == (1, 2 * gates * 2)
