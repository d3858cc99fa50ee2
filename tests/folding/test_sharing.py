"""Weights and values that several nodes share, and values that callers read."""

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.folding import Reason
from tests.folding.builder import Builder
from tests.folding.checker import fold_checked


def stored_bytes(model: ir.Model) -> int:
    """Return the size of the floating-point initializers."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    return sum(t.nbytes for t in tensors if t is not None and t.dtype.is_floating_point())


def test_a_weight_of_two_calls_with_a_normalization_each() -> None:
    """Each call gets its own copy, and the report counts the bytes that this adds."""
    b = Builder()
    x, weight, bias = b.input("N", 3, 5, 4), b.normal(6, 3, 2, 2), b.normal(6)
    first, second = (b.batch_norm(b("Conv", x, weight, bias), 6) for _ in range(2))
    folded = fold_checked(b.model(b("Add", b("Relu", first), b("Sigmoid", second))))
    assert folded.count("BatchNormalization") == 0
    assert folded.report.duplicated_bytes == (6 * 3 * 2 * 2 + 6) * 8
    assert stored_bytes(folded.model) == 2 * (6 * 3 * 2 * 2 + 6) * 8


def test_a_weight_of_which_one_call_is_normalized() -> None:
    """The other call keeps the weight as it was."""
    b = Builder()
    x, weight = b.input("N", 3, 5, 4), b.normal(6, 3, 2, 2)
    plain, normal = b("Conv", x, weight), b.batch_norm(b("Conv", x, weight), 6)
    folded = fold_checked(b.model(b("Add", b("Sigmoid", plain), b("Relu", normal))))
    assert folded.count("BatchNormalization") == 0
    assert folded.report.duplicated_bytes == 6 * 3 * 2 * 2 * 8


def test_a_weight_and_its_transpose() -> None:
    """An encoder and its decoder read one stored weight; folded each has its own, one of which is a copy."""
    b = Builder()
    weight = b.normal(3, 5)
    hidden = b("Relu", b.batch_norm(b("MatMul", b.input("N", 3), weight), 5))
    y = b.batch_norm(b("MatMul", hidden, b("Transpose", weight, perm=[1, 0])), 3)
    folded = fold_checked(b.model(y))
    assert folded.count("BatchNormalization") == 0
    assert folded.report.duplicated_bytes == 3 * 5 * 8


def test_a_weight_and_a_normalization_that_two_calls_share() -> None:
    """The same weight and the same parameters twice fold to the same numbers, stored once."""
    b = Builder()
    weight = b.normal(4, 4, 2, 2)
    parameters = [b.positive(4), b.normal(4), b.normal(4), b.positive(4)]
    x = b("Conv", b("Sigmoid", b.input("N", 4, 5, 6)), weight)
    x = b("Relu", b("BatchNormalization", x, *parameters))
    x = b("Relu", b("BatchNormalization", b("Conv", x, weight), *parameters))
    folded = fold_checked(b.model(x))
    assert folded.count("BatchNormalization") == 0
    assert folded.report.duplicated_bytes == 0


def test_parameters_that_two_normalizations_share() -> None:
    """γ, β, mean and variance of two normalizations, one of which is kept and adapted: the other's stay right."""
    b = Builder()
    parameters = [b.positive(4), b.normal(4), b.normal(4), b.positive(4)]
    x = b("Relu", b.batch_norm(b.conv(b.input("N", 3, 6, 5), 3, 4, 1, 1), 4))
    kept = b("BatchNormalization", x, *parameters, epsilon=0.25)
    again = b("BatchNormalization", b.conv(b("Relu", kept), 4, 4, 1, 1), *parameters, epsilon=0.25)
    folded = fold_checked(b.model(b("Sigmoid", again)))
    assert folded.count("BatchNormalization") == 1


def test_one_tensor_as_gamma_and_variance() -> None:
    """Deduplicated files use one tensor of ones as γ and variance, one of zeros as β, mean and bias."""
    b = Builder()
    ones, zeros = b.stored(np.ones(4)), b.stored(np.zeros(4))
    x = b("Conv", b.input("N", 3, 6, 5), b.normal(4, 3, 1, 1), zeros)
    x = b("BatchNormalization", x, ones, zeros, zeros, ones, epsilon=0.25)
    x = b("Relu", b("BatchNormalization", b("Relu", x), ones, zeros, zeros, ones, epsilon=0.25))
    y = b("BatchNormalization", b("Conv", x, b.normal(4, 4, 3, 3), zeros, pads=[1, 1, 1, 1]), ones, zeros, zeros, ones)
    assert fold_checked(b.model(b("Sigmoid", y))).count("BatchNormalization") == 0


def test_one_scalar_for_arithmetic_of_several_ranks() -> None:
    """A constant that is rewritten for two nodes of different rank gets a shape for each."""
    b = Builder()
    two = b.stored(2.0)
    x = b("Relu", b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 1, 1), 6))
    normal = b.batch_norm(x, 6)
    image = b("Sigmoid", b("Mul", normal, two))
    pooled = b("Squeeze", b("GlobalAveragePool", normal), b.integers(2, 3))
    fold_checked(b.model(image, b("Sigmoid", b("Mul", pooled, two)), b.conv(x, 6, 2, 1, 1)))


def test_a_weight_that_is_an_activation_too() -> None:
    """A tensor that is a Conv's weight and is read as data keeps its values for the latter."""
    b = Builder()
    weight = b.normal(6, 3, 2, 2)
    y = b.batch_norm(b("Conv", b.input("N", 3, 5, 4), weight), 6)
    decayed = b("Max", weight, b.input(6, 3, 2, 2, name="least"))
    assert fold_checked(b.model(b("Relu", y), decayed)).count("BatchNormalization") == 0


def test_a_weight_that_is_an_output() -> None:
    """A tensor that callers read keeps its name and its values."""
    b = Builder()
    weight = b.normal(6, 3, 2, 2)
    y = b.batch_norm(b("Conv", b.input("N", 3, 5, 4), weight), 6)
    assert fold_checked(b.model(b("Relu", y), weight)).count("BatchNormalization") == 0


@pytest.mark.parametrize("which", ["before", "behind", "both", "far"])
def test_values_that_are_outputs(which: str) -> None:
    """What a caller reads in front of, behind or beyond a normalization comes out as it did."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)
    y = b.batch_norm(x, 6)
    z = b("Relu", b.batch_norm(b.conv(y, 6, 4, 1, 1), 4))
    outputs = {"before": [x, z], "behind": [y, z], "both": [y, x, z], "far": [z]}[which]
    folded = fold_checked(b.model(*outputs))
    assert folded.count("BatchNormalization") == (which == "both")


def test_an_output_keeps_its_name_when_its_producer_goes() -> None:
    """BN → output: the Conv's result takes the output's name, and other readers of it follow."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)
    y = b.batch_norm(x, 6)
    folded = fold_checked(b.model(y, b("Sigmoid", y)))
    assert folded.model.graph.outputs[0].name == y
    assert folded.count("Identity") == 0


def test_an_output_that_becomes_an_input() -> None:
    """An identity between input and output leaves an Identity: both keep their names."""
    b = Builder()
    x = b.input("N", 3, 5)
    fold_checked(b.model(b("Add", x, b.stored(np.zeros((3, 1)))), b("Mul", x, b.stored(1.0))))


def test_an_output_that_becomes_another_output() -> None:
    """Two outputs whose difference goes keep both names."""
    b = Builder()
    x = b("Sigmoid", b.input("N", 3, 5))
    first = b("Mul", x, b.stored(np.ones((3, 1))))
    fold_checked(b.model(x, first, b("Add", first, b.stored(0.0))))


def test_two_normalizations_of_one_value() -> None:
    """The first takes the value's gauge; the second stays, and says which was folded before it."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)
    first, second = b.batch_norm(x, 6, name="first"), b.batch_norm(x, 6, name="second")
    folded = fold_checked(b.model(b("Sigmoid", first), b("Sigmoid", second)))
    outcomes = folded.report.batch_norms
    assert [outcome.removed for outcome in outcomes] == [True, False]
    assert "first" in (outcomes[1].witness or "")


def test_what_joins_two_normalizations_of_one_value() -> None:
    """Their results are added up: the Add is named, and no operator elsewhere that the same class goes through."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 6, 1, 1)
    stream = b("Add", x, b.conv(b.input("N", 3, 5, 4, name="other"), 3, 6, 1, 1), name="elsewhere")
    first, second = b.batch_norm(x, 6), b.batch_norm(x, 6, name="second")
    joined = b("Relu", b("Add", first, b("MaxPool", second, kernel_shape=[1, 1]), name="joins"))
    folded = fold_checked(b.model(b.conv(stream, 6, 2, 1, 1), b.conv(joined, 6, 2, 1, 1)))
    (kept,) = [outcome for outcome in folded.report.batch_norms if not outcome.removed]
    assert (kept.name, kept.reason) == ("second", Reason.SCALE_FIXED)
    assert "joins" in (kept.witness or "")
    assert "elsewhere" not in (kept.witness or "")


def test_two_equal_normalizations_of_one_value() -> None:
    """Where they agree, both go."""
    b = Builder()
    parameters = [b.positive(6), b.normal(6), b.normal(6), b.positive(6)]
    x = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)
    first, second = (b("BatchNormalization", x, *parameters) for _ in range(2))
    assert fold_checked(b.model(b("Sigmoid", first), b("Sigmoid", second))).count("BatchNormalization") == 0


def test_a_siamese_network() -> None:
    """Two inputs through the same layers: copies where they are normalized apart, none where alike."""
    b = Builder()
    weight, other = b.normal(6, 3, 2, 2), b.normal(5, 6, 1, 1)
    parameters = [b.positive(6), b.normal(6), b.normal(6), b.positive(6)]
    towers: list[str] = []
    for name in ("left", "right"):
        x = b("BatchNormalization", b("Conv", b.input("N", 3, 5, 4, name=name), weight), *parameters)
        towers.append(b("Conv", b("Relu", x), other))
    folded = fold_checked(b.model(b("Sub", *towers)))
    assert folded.count("BatchNormalization") == 0
    assert folded.report.duplicated_bytes == 0
