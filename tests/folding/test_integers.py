"""Arithmetic that is not about activations: shapes, indices and sizes computed in the graph keep their values."""

import numpy as np

from tests.folding.builder import Builder
from tests.folding.checker import fold_checked

DRAW = np.random.default_rng(0)


def extent(b: Builder, x: str, axis: int) -> str:
    """Return a value's extent along an axis, an int64 of shape (1,)."""
    return b("Gather", b("Shape", x), b.integers(axis))


def test_extent_times_a_number_in_a_reshape() -> None:
    """x.reshape(0, −1, 2·W)."""
    b = Builder()
    x = b.input("N", 4, "W")
    target = b("Concat", b.integers(0, -1), b("Mul", extent(b, x, 2), b.integers(2)), axis=0)
    fold_checked(b.model(b("Reshape", x, target)), {"x": DRAW.standard_normal((2, 4, 6))})


def test_extent_rounded_down_in_a_slice() -> None:
    """x[..., : W // 2 * 2]: integer division loses what multiplication does not bring back."""
    b = Builder()
    x = b.input("N", 4, "W")
    end = b("Mul", b("Div", extent(b, x, 2), b.integers(2)), b.integers(2))
    fold_checked(b.model(b("Slice", x, b.integers(0), end, b.integers(2))), {"x": DRAW.standard_normal((2, 4, 7))})


def test_rounding_down_of_an_input() -> None:
    """i // 2 * 2 of an integer input."""
    b = Builder()
    i = b.input(3, name="i", dtype=np.int64)
    y = b("Mul", b("Div", i, b.integers(2)), b.integers(2))
    fold_checked(b.model(y, types=[np.int64]), {"i": np.array([1, 2, 5])})


def test_indices_plus_one() -> None:
    """x[i + 1] by Gather."""
    b = Builder()
    x, i = b.input("N", 4, 7), b.input(3, name="i", dtype=np.int64)
    fold_checked(
        b.model(b("Gather", x, b("Add", i, b.integers(1)), axis=2)),
        {"x": DRAW.standard_normal((2, 4, 7)), "i": np.array([0, 2, 5])},
    )


def test_scales_of_a_resize() -> None:
    """Resize by computed float scales: a Mul of these is no Mul of activations."""
    b = Builder()
    x, scales = b.input("N", 3, 4, 5), b.input(4, name="scales", dtype=np.float32)
    twice = b("Mul", scales, b.stored([1, 1, 2, 2], dtype=np.float32))
    inputs = {"x": DRAW.standard_normal((2, 3, 4, 5)), "scales": np.ones(4, np.float32)}
    fold_checked(b.model(b("Resize", x, None, twice, mode="nearest")), inputs)


def test_repeats_of_a_tile_and_shape_of_an_expand() -> None:
    """Tile and Expand by computed counts."""
    b = Builder()
    x, n = b.input("N", 3, 1), b.input(3, name="n", dtype=np.int64)
    counts = b("Add", n, b.integers(1))
    y = b("Tile", b("Expand", x, b("Mul", counts, b.integers(2, 1, 2))), counts)
    fold_checked(b.model(y), {"x": DRAW.standard_normal((2, 3, 1)), "n": np.array([0, 0, 1])})


def test_integer_matmul() -> None:
    """A MatMul of integers cannot take up a factor."""
    b = Builder()
    x = b.input("N", 3, dtype=np.int64)
    product = b("MatMul", x, b.stored(DRAW.integers(1, 9, (3, 4)), dtype=np.int64))
    y = b("Relu", b("Mul", product, b.integers(2, 3, 4, 5)))
    fold_checked(b.model(y, types=[np.int64]), {"x": DRAW.integers(-5, 5, (2, 3))})


def test_a_normalization_beside_shape_arithmetic() -> None:
    """What folds, folds, though the graph computes shapes."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 4, "W"), 3, 6, 1, 1), 6)
    rows = b("Concat", b.integers(0, 6), b("Mul", extent(b, x, 3), b.integers(4)), axis=0)
    folded = fold_checked(b.model(b("Reshape", x, rows)), {"x": DRAW.standard_normal((2, 3, 4, 5))})
    assert folded.count("BatchNormalization") == 0
