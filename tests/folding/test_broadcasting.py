"""Arithmetic with constants that broadcasting aligns at the right, or that make a value larger."""

import numpy as np
import pytest

from tests.folding.builder import Builder
from tests.folding.checker import fold_checked

OPERATORS = ["Add", "Sub", "Mul", "Div"]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (), (1,), (1, 1, 1)])
def test_constants_per_channel(operator: str, shape: tuple[int, ...]) -> None:
    """(C, 1, 1) and scalars vary along the channels alone: gone into the Conv before."""
    b = Builder()
    x = b(operator, b.conv(b.input("N", 3, 4, 4), 3, 4, 1, 1), b.positive(*shape))
    assert fold_checked(b.model(b("Relu", x))).count(operator) == 0


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1), (4, 4, 4), (1, 4, 4, 1)])
def test_constants_along_other_axes_of_the_same_extent(operator: str, shape: tuple[int, ...]) -> None:
    """(C,) meets the last axis of (N, C, H, W), not the channels, also when W = C: kept as it is."""
    b = Builder()
    x = b(operator, b.conv(b.input("N", 3, 4, 4), 3, 4, 1, 1), b.positive(*shape))
    folded = fold_checked(b.model(b("Relu", b.batch_norm(x, 4))))
    assert folded.count(operator) == 1


def test_position_embedding_takes_up_a_shift() -> None:
    """(1, L, C) + (N, L, C) in front of a Mul and Add per channel: scale and shift pass through the constant."""
    b = Builder()
    x = b("Add", b.matmul(b.input("N", 5, 3), 3, 4, bias=False), b.normal(1, 5, 4))
    y = b("Add", b("Mul", x, b.positive(4)), b.normal(4))
    folded = fold_checked(b.model(b("Relu", y)))
    assert (folded.count("Mul"), folded.count("Add")) == (0, 1)


ENLARGING = {
    "channels": ((2, 1, 5, 4), (3, 1, 1)),
    "batch": ((1, 3, 5, 4), (2, 1, 1, 1)),
    "rank": ((3, 5), (2, 1, 5)),
    "rank by ones": ((3, 5), (1, 1, 5)),
    "positions": ((2, 3, 1, 4), (5, 1)),
}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("case", ENLARGING)
def test_constants_that_enlarge_the_value(operator: str, uniform: bool, case: str) -> None:
    """Where the constant has the larger shape, the node makes copies: it cannot become a wire, or lose its shape."""
    dims, shape = ENLARGING[case]
    b = Builder()
    constant = b.stored(np.full(shape, 2.0)) if uniform else b.positive(*shape)
    y = b(operator, b("Sigmoid", b.input(*dims)), constant)
    fold_checked(b.model(b("Sigmoid", b.matmul(y, dims[-1], 6))))


@pytest.mark.parametrize(("operator", "number"), [("Mul", 1.0), ("Add", 0.0)])
def test_expansion_by_ones_and_zeros(operator: str, number: float) -> None:
    """x·1 and x + 0 of a larger shape are how old exporters write Expand."""
    b = Builder()
    x = b("Relu", b.conv(b.input("N", 3, 5, 4), 3, 1, 1, 1))
    large = b(operator, x, b.stored(np.full((6, 1, 1), number)))
    fold_checked(b.model(b("Sigmoid", b.conv(b.batch_norm(large, 6), 6, 2, 1, 1))))


def test_bias_of_a_matmul_that_enlarges() -> None:
    """The Add behind a MatMul of one row makes four, all the same."""
    b = Builder()
    x = b("Add", b("MatMul", b.input(1, 3), b.normal(3, 6)), b.stored(np.full((4, 6), 0.5)))
    fold_checked(b.model(b("Relu", b("Mul", x, b.positive(6)))))


@pytest.mark.parametrize("extent", ["C", None, 1, 6])
def test_an_extent_that_may_be_one(extent: str | int | None) -> None:
    """A constant per channel on a value whose channel count is not known may enlarge it."""
    b = Builder()
    x = b("Sigmoid", b.input(2, extent, 5))
    y = b("Mul", x, b.positive(6, 1))
    model = b.model(b("Sigmoid", b.conv(y, 6, 4, 2)))
    channels = 1 if extent != 6 else 6
    fold_checked(model, {"x": np.random.default_rng(0).standard_normal((2, channels, 5))})


def test_activations_that_broadcast() -> None:
    """Add and Mul of (N, C, 1, 1) and (N, C, H, W), and of (N, 1, H, W)."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 1, 1), 6)
    narrow = b.batch_norm(b.conv(x, 6, 1, 1, 1), 1)
    gated = b("Mul", b("Sigmoid", narrow), b("Add", x, b.batch_norm(b.conv(b("GlobalAveragePool", x), 6, 6, 1, 1), 6)))
    folded = fold_checked(b.model(b("Sigmoid", b.batch_norm(b.conv(b("Add", gated, narrow), 6, 2, 1, 1), 2))))
    assert folded.count("BatchNormalization") == 0


def test_a_value_with_itself() -> None:
    """x + x, x − x and x·x of one normalization."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 1, 1), 6)
    total = b("Add", b("Add", x, x), b("Sub", b("Mul", x, x), b("Sub", x, x)))
    assert fold_checked(b.model(b("Sigmoid", total))).count("BatchNormalization") == 0


def test_division_by_an_activation() -> None:
    """c / x and x / y are no affine maps: what they read keeps its values."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 1, 1), 6, beta=np.full(6, 40.0), mean=np.zeros(6))
    y = b("Div", b.positive(6, 1, 1), x)
    assert fold_checked(b.model(b("Div", y, x))).count("Div") == 2
