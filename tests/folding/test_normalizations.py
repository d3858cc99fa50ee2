"""One BatchNormalization and its parameters: every value they may have, and every way not to be constants."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.folding import Outcome, Reason, fold, inspect
from tests.folding.builder import EPSILON, Builder
from tests.folding.checker import Folded, check_results, fold_checked, random_inputs

KERNELS: dict[str, dict[str, Any]] = {"MaxPool": {"kernel_shape": [2, 2]}}


def conv_bn(b: Builder, *, behind: str | None = None, **parameters: Any) -> Folded:
    """Fold Conv → BN, with an operator behind it, and a 1×1 Conv behind that."""
    hidden = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4, name="bn", **parameters)
    if behind is not None:
        hidden = b.conv(b(behind, hidden, **KERNELS.get(behind, {})), 4, 2, 1, 1)
    return fold_checked(b.model(hidden))


def only(folded: Folded) -> Outcome:
    """Return the outcome of the one normalization."""
    (outcome,) = folded.report.batch_norms
    return outcome


# Values


def test_the_formula_by_hand() -> None:
    """w' = w·γ/√(σ² + ε) and b' = (b − μ)·γ/√(σ² + ε) + β, written out once more."""
    b = Builder()
    b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4)
    weight, bias, gamma, beta, mean, variance = b.tensors.values()
    folded = fold_checked(b.model(b.last_outputs()[0]))
    scale = gamma / np.sqrt(variance + EPSILON)
    assert folded.weight("Conv", 1) == pytest.approx(weight * scale[:, None, None, None], rel=1e-14)
    assert folded.weight("Conv", 2) == pytest.approx((bias - mean) * scale + beta, rel=1e-12)


def test_names_of_the_weights_that_took_it_up() -> None:
    """The report says where a normalization went; the name of the weight stays."""
    b = Builder()
    b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4)
    weight = next(iter(b.tensors))
    folded = fold_checked(b.model(b.last_outputs()[0]))
    assert only(folded).into == (weight,)
    assert weight in folded.model.graph.initializers


@pytest.mark.parametrize("behind", [None, "Relu", "MaxPool", "Sigmoid"])
def test_a_zero_in_gamma(behind: str | None) -> None:
    """A channel with γ = 0 is the constant β: the Conv's row becomes 0, its bias β."""
    folded = conv_bn(Builder(), behind=behind, gamma=[0.0, 0.5, 0.0, 2.0])
    assert only(folded).removed
    assert not folded.weight("Conv", 1)[[0, 2]].any()


def test_all_of_gamma_is_zero() -> None:
    """A normalization that forgets its input leaves a Conv of zeros."""
    folded = conv_bn(Builder(), gamma=np.zeros(4), behind="Relu")
    assert only(folded).removed
    assert not folded.weight("Conv", 1).any()


def test_a_zero_in_gamma_where_others_read_the_input() -> None:
    """The Conv's row must not become 0 if something else reads it: kept, and the value is named."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    other = b.conv(x, 4, 5, 1, 1)
    folded = fold_checked(b.model(b("Relu", b.batch_norm(x, 4, gamma=[0.0, 1.0, 2.0, 3.0])), other))
    assert only(folded).reason is Reason.ZERO_SCALE
    assert x in (only(folded).witness or "")


def test_a_zero_in_gamma_where_the_input_is_an_output() -> None:
    """Nor if a caller reads it."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    folded = fold_checked(b.model(x, b("Relu", b.batch_norm(x, 4, gamma=[0.0, 1.0, 2.0, 3.0]))))
    assert not only(folded).removed


def test_a_zero_along_an_axis_of_positions() -> None:
    """γ = 0 at one position of (N, L, C) is no reason to silence a feature of the MatMul before it."""
    b = Builder()
    x = b("MatMul", b.input("N", 3, 5), b.normal(5, 4))
    one: dict[str, Any] = {"beta": np.zeros(3), "mean": np.zeros(3), "variance": np.full(3, 1 - EPSILON)}
    fold_checked(b.model(b.batch_norm(x, 3, gamma=[0.0, 1.0, 1.0], **one)))


def test_a_mask_of_positions() -> None:
    """A Mul by zeros and ones along positions, behind a MatMul of one output feature."""
    b = Builder()
    x = b("MatMul", b.input("N", 3, 5), b.normal(5, 1))
    folded = fold_checked(b.model(b("Mul", x, b.stored([[0.0], [1.0], [1.0]]))))
    assert folded.count("Mul") == 1


def test_a_zero_for_one_channel_of_many_features() -> None:
    """γ = 0 of the one channel of (N, 1, M) makes all M features of the MatMul before it constant, not the first."""
    b = Builder()
    x = b("MatMul", b.input("N", 1, 3), b.normal(3, 2))
    fold_checked(b.model(b.batch_norm(x, 1, gamma=[0.0])))


ZEROS = [0.0, 0.5, 0.0, 2.0]


@pytest.mark.parametrize("last", ["BatchNormalization", "Mul"])
@pytest.mark.parametrize(
    "middle", [["BatchNormalization"], ["Mul"], ["Add"], ["Mul", "Add"], ["BatchNormalization", "Div"]]
)
def test_a_zero_behind_other_maps(middle: list[str], last: str) -> None:
    """Conv → affine maps → one with zeros in its scale: right, and nothing left of any."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    for operator in middle:
        x = b.batch_norm(x, 4) if operator == "BatchNormalization" else b(operator, x, b.positive(4, 1, 1))
    y = b.batch_norm(x, 4, gamma=ZEROS) if last == "BatchNormalization" else b("Mul", x, b.stored(ZEROS, "zeros"))
    b.tensors["zeros"] = np.array(ZEROS).reshape(4, 1, 1)
    folded = fold_checked(b.model(b.conv(b("Relu", y), 4, 2, 1, 1)))
    assert {node.op_type for node in folded.model.graph} == {"Conv", "Relu"}


@pytest.mark.parametrize("gamma", [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
def test_a_zero_behind_a_map_along_another_axis(gamma: list[float]) -> None:
    """MatMul → Mul per feature → BN over axis 1 with γ = 0 there."""
    b = Builder()
    x = b("Mul", b("MatMul", b.input("N", 3, 5), b.normal(5, 4)), b.positive(4))
    one: dict[str, Any] = {"mean": np.zeros(3), "variance": np.full(3, 1 - EPSILON)}
    fold_checked(b.model(b.batch_norm(x, 3, gamma=gamma, **one)))


@pytest.mark.parametrize("behind", ["Relu", "MaxPool", "LeakyRelu", "GlobalMaxPool"])
def test_negative_gamma_goes_into_the_weights_before(behind: str) -> None:
    """γ < 0 in front of a sign-sensitive operator is no obstacle where a Conv before takes the sign."""
    folded = conv_bn(Builder(), behind=behind, gamma=[-1.0, 0.5, -0.25, 2.0])
    assert only(folded).removed


@pytest.mark.parametrize("behind", ["MaxPool", "Relu", "LeakyRelu", "GlobalMaxPool"])
def test_negative_gamma_between_two_signs(behind: str) -> None:
    """Relu before, a sign-sensitive operator behind: kept, because of the sign or the shift."""
    b = Builder()
    x = b("Relu", b.conv(b.input("N", 3, 5, 4), 3, 4, 1, 1))
    hidden = b.batch_norm(x, 4, gamma=[1.0, -1.0, 1.0, 1.0], beta=np.zeros(4), mean=np.zeros(4))
    hidden = b(behind, hidden, **KERNELS.get(behind, {}))
    folded = fold_checked(b.model(b.conv(hidden, 4, 2, 1, 1)))
    assert only(folded).reason is Reason.SIGN_FIXED


def test_positive_gamma_without_shift_passes_two_signs() -> None:
    """The same with γ > 0 and no shift goes."""
    b = Builder()
    x = b("Relu", b.conv(b.input("N", 3, 5, 4), 3, 4, 1, 1))
    hidden = b("Relu", b.batch_norm(x, 4, beta=np.zeros(4), mean=np.zeros(4)))
    assert only(fold_checked(b.model(b.conv(hidden, 4, 2, 1, 1)))).removed


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3, EPSILON])
def test_variances_of_zero(epsilon: float) -> None:
    """Var = 0 leaves γ/√ε."""
    folded = conv_bn(Builder(), variance=[0.0, 1.0, 0.0, 0.5], epsilon=epsilon, behind="Relu")
    assert only(folded).removed


def test_the_epsilon_that_is_not_written() -> None:
    """An absent ε is the operator's default, the float32 nearest to 1e-5."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    parameters = [b.positive(4), b.normal(4), b.normal(4), b.stored(np.zeros(4))]
    assert only(fold_checked(b.model(b("BatchNormalization", x, *parameters)))).removed


@pytest.mark.parametrize("variance", [[-1.0, 1.0, 1.0, 1.0], [-EPSILON, 1.0, 1.0, 1.0]])
def test_a_variance_that_has_no_root(variance: list[float]) -> None:
    """Var + ε ≤ 0 has no meaning: kept, and said."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    model = b.model(b.batch_norm(x, 4, variance=variance))
    (outcome,) = inspect(model)
    assert outcome.reason is Reason.NOT_FINITE


def test_one_channel() -> None:
    """C = 1, where every axis has the channel's extent."""
    b = Builder()
    hidden = b("Relu", b.batch_norm(b.conv(b.input("N", 1, 5, 4), 1, 1, 2, 2), 1))
    assert only(fold_checked(b.model(b.conv(hidden, 1, 1, 3, 1)))).removed


def test_rank_2_and_5() -> None:
    """(N, C) and (N, C, D, H, W), the channels on axis 1 in both."""
    for dims in ([4], [4, 3, 2, 5]):
        b = Builder()
        x = b("Sigmoid", b.input("N", *dims))
        y = b.batch_norm(x, 4)
        flat = b("Flatten", y)
        columns = int(np.prod(dims))
        folded = fold_checked(b.model(b("Gemm", flat, b.normal(columns, 3))))
        assert only(folded).removed


def test_the_identity() -> None:
    """A normalization that does nothing goes, wherever it is."""
    b = Builder()
    x = b("Sigmoid", b.input("N", 4, 3))
    nothing: dict[str, Any] = {
        "gamma": np.ones(4),
        "beta": np.zeros(4),
        "mean": np.zeros(4),
        "variance": np.full(4, 1 - EPSILON),
    }
    folded = fold_checked(b.model(b("Sigmoid", b.batch_norm(x, 4, **nothing))))
    assert only(folded).removed
    assert only(folded).into == ()


# Axes


def test_sequence_length_that_equals_the_channel_count() -> None:
    """BN over axis 1 of (N, L, C) is not over the features of the MatMul before it, also when L = C."""
    b = Builder()
    x = b.matmul(b.input("N", 4, 3), 3, 4)
    folded = fold_checked(b.model(b("Relu", b.batch_norm(x, 4))))
    assert only(folded).reason is Reason.SCALE_FIXED
    assert folded.weight("MatMul", 1) == pytest.approx(next(iter(b.tensors.values())))


def test_square_flatten() -> None:
    """Flatten with C = H = W: the columns of a channel are contiguous, not interleaved."""
    b = Builder()
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 3, 3), 3, 3, 1, 1)), 3)
    assert only(fold_checked(b.model(b("Gemm", b("Flatten", hidden), b.normal(27, 2))))).removed


def test_square_transpose() -> None:
    """Transpose of equal extents moves the channels to another axis all the same."""
    b = Builder()
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 3, 3), 3, 3, 1, 1)), 3)
    turned = b("Transpose", hidden, perm=[0, 2, 1, 3])
    folded = fold_checked(b.model(b.conv(turned, 3, 2, 1, 1)))
    assert not only(folded).removed


def test_parameters_for_another_number_of_channels() -> None:
    """γ for four channels behind a Conv of three is bad input, named."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 3, 2, 2)
    b.batch_norm(x, 4, name="bn")
    model = _unchecked(b)
    with pytest.raises(InputError, match=r"BatchNormalization bn: .* 4 channels, .* has 3"):
        fold(model)


def _unchecked(b: Builder) -> ir.Model:
    """Return a model whose last node is wrong, and whose output is therefore of unknown shape."""
    last = b.nodes.pop()
    model = b.model(b.last_outputs()[0])
    values = ir.convenience.create_value_mapping(model.graph)
    values |= {name: ir.Value(name=name) for name in last.input if name not in values}
    for name in last.input[1:]:
        value = values[name]
        if not value.is_initializer():
            value.const_value = ir.tensor(b.tensors[name], name=name)
            value.shape, value.type = ir.Shape(b.tensors[name].shape), ir.TensorType(ir.DataType.DOUBLE)
            model.graph.register_initializer(value)
    node = ir.Node("", last.op_type, [values[name] for name in last.input], name=last.name)
    node.outputs[0].name = last.output[0]
    model.graph.append(node)
    model.graph.outputs[0] = node.outputs[0]
    return model


# Modes


def test_training_mode() -> None:
    """BN in training mode normalizes by the minibatch: kept, and said."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    parameters = [b.positive(4), b.normal(4), b.normal(4), b.positive(4)]
    y = b("BatchNormalization", x, *parameters, outputs=3, training_mode=1)
    (outcome,) = inspect(b.model(y))
    assert outcome.reason is Reason.TRAINING_MODE


def test_training_mode_leaves_everything_around_alone() -> None:
    """What a BN in training mode reads and what reads it keep their values."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4, gamma=[1.0, 2.0, 3.0, 4.0], name="before")
    parameters = [b.positive(4), b.normal(4), b.normal(4), b.positive(4)]
    y = b("BatchNormalization", x, *parameters, outputs=3, training_mode=1, name="training")
    model = b.model(b.batch_norm(y, 4, name="behind"))
    report = fold(model)
    assert [outcome.removed for outcome in report.batch_norms] == [True, False, False]
    assert sum(node.op_type == "BatchNormalization" for node in model.graph) == 2


@pytest.mark.parametrize("used", [True, False])
def test_training_mode_of_old_opsets(used: bool) -> None:
    """Before opset 14 the mode is in the number of outputs: five are training mode, used or not."""
    b = Builder(opset=9)
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    parameters = [b.positive(4), b.normal(4), b.normal(4), b.positive(4)]
    b("BatchNormalization", x, *parameters, outputs=5)
    y, batch_mean, *_ = b.last_outputs()
    if used:
        b("Sqrt", batch_mean)
    (outcome,) = inspect(b.model(y))
    assert outcome.reason is Reason.TRAINING_MODE


def test_statistics_per_activation() -> None:
    """spatial=0 of opset 7 has statistics for each activation: kept, and said."""
    b = Builder(opset=7)
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    parameters = [b.positive(4, 4, 3) for _ in range(4)]
    (outcome,) = inspect(b.model(b("BatchNormalization", x, *parameters, spatial=0)))
    assert outcome.reason is Reason.UNSUPPORTED


# Where the parameters come from


@pytest.mark.parametrize("slot", [1, 2, 3, 4])
def test_parameters_that_are_computed(slot: int) -> None:
    """γ, β, mean or variance from the input of the graph: kept, and the value is named."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    given = b("Sigmoid", b.input(4, name="given"))
    parameters = [given if slot == index else b.positive(4) for index in range(1, 5)]
    folded = fold_checked(b.model(b("Relu", b("BatchNormalization", x, *parameters))))
    assert only(folded).reason is Reason.NOT_CONSTANT
    assert given in only(folded).detail


@pytest.mark.parametrize("which", ["weight", "gamma"])
def test_initializers_that_a_caller_can_override(which: str) -> None:
    """An initializer that is a graph input too is a default, from IR 4 on: neither folded from nor into."""
    b = Builder()
    x = b.input("N", 3, 5, 4)
    y = b.batch_norm(b.conv(x, 3, 4, 2, 2), 4)
    names = list(b.tensors)
    name = names[0] if which == "weight" else names[2]
    b.input(*b.tensors[name].shape, name=name)
    folded = fold_checked(b.model(b("Relu", y)))
    assert not only(folded).removed
    if which == "gamma":
        assert only(folded).reason is Reason.NOT_CONSTANT


@pytest.mark.parametrize("slot", [1, 2])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite(slot: int, number: float) -> None:
    """NaN or infinity in a weight is bad input: the node and the value are named."""
    b = Builder()
    b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4)
    name = list(b.tensors)[slot - 1]
    b.tensors[name].flat[1] = number
    with pytest.raises(InputError, match=rf"Conv conv_\d+: .* {name} holds NaN or infinity"):
        fold(b.model(b.last_outputs()[0]))


@pytest.mark.parametrize("slot", [0, 1, 2, 3])
def test_parameters_that_are_not_finite(slot: int) -> None:
    """The same of γ, β, mean and variance."""
    b = Builder()
    b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4)
    name = list(b.tensors)[2 + slot]
    b.tensors[name][2] = np.nan
    with pytest.raises(InputError, match=rf"BatchNormalization \w+: .* {name} holds NaN or infinity"):
        fold(b.model(b.last_outputs()[0]))


def test_bad_input_leaves_the_model_as_it_was() -> None:
    """Nothing is edited before the whole plan stands."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4)
    y = b.batch_norm(b.conv(x, 4, 2, 1, 1), 2)
    b.tensors[list(b.tensors)[-1]][0] = np.nan
    model = b.model(y)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    with pytest.raises(InputError, match="NaN"):
        fold(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_a_mask_of_minus_infinity() -> None:
    """Attention masks hold −∞ on purpose: no bad input, and no obstacle to what is folded elsewhere."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5), 3, 5, 1), 5)
    masked = b("Add", x, b.stored(np.triu(np.full((5, 5), -np.inf), 1)))
    assert only(fold_checked_with_infinities(b.model(b("Softmax", masked)))).removed


def fold_checked_with_infinities(model: ir.Model) -> Folded:
    """Fold; results alone are compared, since the mask stays what it is."""
    candidate = model.clone()
    report = fold(candidate)
    check_results(model, candidate, random_inputs(model))
    return Folded(candidate, report)
