"""Matrix products merge as convolutions do: in parallel and in sequence, where that is cheaper."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnfold.merging.report import Hindrance, Rule
from tests.folding.builder import Builder
from tests.merging.checker import merge_checked, operators


def rows(b: Builder, *front: int | str, channels: int = 8) -> str:
    """Return an input of rows."""
    return b.input(*front, channels)


@pytest.mark.parametrize("front", [("N",), (2, 5), ("N", "T"), (2, 3, 4)])
@pytest.mark.parametrize("skip", [True, False])
def test_parallel_products_become_one(front: tuple[int | str, ...], skip: bool) -> None:
    """x·W₁ + b₁ + x·W₂ + b₂ (+ x) is one MatMul and one Add."""
    b = Builder()
    x = rows(b, *front)
    y = b("Add", b.matmul(x, 8, 8), b.matmul(x, 8, 8))
    model = b.model(b("Relu", b("Add", y, x) if skip else y))
    merged, report = merge_checked(model)
    assert operators(merged) == ["MatMul", "Add", "Relu"]
    assert [step.rule for step in report.merges] == [Rule.PARALLEL]


@pytest.mark.parametrize(("trans_b", "alpha", "beta"), [(0, 1.0, 1.0), (1, 0.5, 1.0), (1, 1.0, -2.0), (0, 0.25, 0.0)])
def test_parallel_gemms_become_one(trans_b: int, alpha: float, beta: float) -> None:
    """α·A·B + β·C of two branches, a scaled skip, and the bias of a third: one Gemm holds all."""
    b = Builder()
    x = rows(b, "N")
    first = b("Gemm", x, b.normal(8, 8), b.normal(8), transB=trans_b, alpha=alpha, beta=beta)
    second = b("Gemm", x, b.normal(8, 8), b.normal(1), transB=trans_b, alpha=alpha, beta=beta)
    third = b.matmul(x, 8, 8)
    y = b("Sum", first, b("Neg", second), third, b("Mul", x, b.normal(8)))
    merged, _ = merge_checked(b.model(b("Relu", y)))
    assert operators(merged) == ["Gemm", "Relu"]


@pytest.mark.parametrize(("inner", "merges"), [(64, True), (2, False)])
def test_a_sequence_becomes_one_where_it_is_cheaper(inner: int, merges: bool) -> None:
    """A wide layer between two narrow ones goes; a bottleneck of low rank stays as it is."""
    b = Builder()
    x = rows(b, "N", 5, channels=32)
    y = b.matmul(b.matmul(x, 32, inner), inner, 32)
    merged, report = merge_checked(b.model(y))
    assert operators(merged).count("MatMul") == (1 if merges else 2)
    assert (Rule.SEQUENTIAL in [step.rule for step in report.merges]) == merges


def test_branches_of_low_rank_stay_apart() -> None:
    """Where one matrix would cost more than the branches do, nothing merges, and the report says so."""
    b = Builder()
    x = rows(b, "N", 5, channels=256)
    branches = [b("MatMul", b("MatMul", x, b.normal(256, 1)), b.normal(1, 256)) for _ in range(2)]
    merged, report = merge_checked(b.model(b("Add", *branches)))
    assert operators(merged).count("MatMul") == 4
    assert [stays.hindrance for stays in report.unmerged] == [Hindrance.COST]


def test_arithmetic_along_the_channels_goes_into_the_product() -> None:
    """Scales and offsets in front of and behind a product of rows are parts of it; along another axis they are not."""
    b = Builder()
    x = rows(b, "N", 8)
    y = b("Mul", b("Sub", b.matmul(x, 8, 8), b.normal(8)), b.normal(1, 8))
    merged, _ = merge_checked(b.model(b("Mul", b("Div", y, b.stored(2.0)), b.normal(8, 1))))
    assert operators(merged) == ["MatMul", "Add", "Mul"]


def test_a_branch_that_is_read_elsewhere_stays() -> None:
    """What another node reads of the two cannot go."""
    b = Builder()
    x = rows(b, "N")
    first, second = b.matmul(x, 8, 8), b.matmul(x, 8, 8)
    merged, report = merge_checked(b.model(b("Add", first, second), b("Sigmoid", first)))
    assert operators(merged).count("MatMul") == 2
    assert [stays.hindrance for stays in report.unmerged] == [Hindrance.SHARED]


def test_rows_and_channels_on_the_second_axis_do_not_mix() -> None:
    """A Conv over what a product of rows computes, and a product over what a Conv computes, stay apart."""
    b = Builder()
    x = rows(b, "N", 8)
    y = b.matmul(b.conv(b.matmul(x, 8, 8), 8, 8, 1), 8, 8)
    merged, _ = merge_checked(b.model(b("Add", y, b.conv(x, 8, 8, 1))))
    assert operators(merged).count("MatMul") == operators(merged).count("Conv") == 2


def test_what_is_no_product_of_rows_by_a_matrix() -> None:
    """A transposed operand, a bias that varies by row, a product of activations: they stay, and nothing is wrong."""
    b = Builder()
    x = b.input(8, 8)
    transposed = b("Gemm", x, b.normal(8, 8), b.normal(8), transA=1)
    by_row = b("Gemm", x, b.normal(8, 8), b.normal(8, 1))
    square = b("MatMul", x, x)
    left = b("MatMul", b.normal(8, 8), x)
    merged, report = merge_checked(b.model(b("Sum", transposed, by_row, square, left)))
    assert operators(merged) == ["Gemm", "Gemm", "MatMul", "MatMul", "Sum"]
    assert not report.merges


@st.composite
def blocks(draw: st.DrawFn) -> Builder:
    """Draw a graph of products, arithmetic and additions over rows, with outputs in the middle at times."""
    b = Builder(seed=draw(st.integers(0, 9)))
    rank = draw(st.integers(2, 4))
    values = [b.input(*range(2, rank + 1), 4)]
    for _ in range(draw(st.integers(2, 9))):
        x = draw(st.sampled_from(values[-3:]))
        match draw(st.sampled_from(["matmul", "gemm", "add", "constant", "wide", "neg", "relu"])):
            case "gemm" if rank == 2:
                y = b("Gemm", x, b.normal(4, 4), b.normal(4), transB=draw(st.integers(0, 1)), alpha=0.5, beta=2.0)
            case "add":
                y = b(draw(st.sampled_from(["Add", "Sub"])), x, draw(st.sampled_from(values)))
            case "constant":
                shape = draw(st.sampled_from([(4,), (1,), (), (3, 1) if rank == 3 else (1, 4)]))
                operands = [x, b.positive(*shape)]
                y = b(draw(st.sampled_from(["Add", "Sub", "Mul", "Div"])), *draw(st.permutations(operands)))
            case "wide":
                y = b.matmul(b.matmul(x, 4, 16), 16, 4, bias=draw(st.booleans()))
            case "neg":
                y = b("Neg", x)
            case "relu":
                y = b("Relu", x)
            case _:
                y = b.matmul(x, 4, 4, bias=draw(st.booleans()))
        values.append(y)
    return b


@given(blocks(), st.integers(0, 2))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_random_rows(b: Builder, middle: int) -> None:
    """Whatever is built of rows computes the same when it is merged."""
    read = {name for node in b.nodes for name in node.input}
    results = [node.output[0] for node in b.nodes]
    outputs = [name for name in results if name not in read] + results[:middle]
    with np.errstate(all="ignore"):
        merge_checked(b.model(*dict.fromkeys(outputs)))
