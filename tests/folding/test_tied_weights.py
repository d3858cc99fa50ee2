"""Weights that go on being shared: ``fold(duplicate_weights=False)``."""

import onnx_ir as ir
import pytest

from bnfold.folding import FoldReport, fold
from tests.folding.builder import Builder
from tests.folding.checker import check_results, random_inputs


def fold_tied(model: ir.Model) -> tuple[ir.Model, FoldReport]:
    """Fold a copy without copies of weights; check what it computes."""
    candidate = model.clone()
    report = fold(candidate, duplicate_weights=False)
    check_results(model, candidate, random_inputs(model))
    return candidate, report


def kernels(model: ir.Model) -> int:
    """Return how many stored tensors are no vectors."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    return sum(t is not None and t.dtype.is_floating_point() and len(t.shape) > 1 for t in tensors)


def head_on_two_levels(*, shared: bool) -> ir.Model:
    """Return a Conv that is called twice, with one normalization for both calls, or one each."""
    b = Builder()
    weight, parameters = b.normal(6, 3, 2, 2), [b.positive(6), b.normal(6), b.normal(6), b.positive(6)]
    levels = b.input("N", 3, 5, 4), b("Sigmoid", b.input("N", 3, 5, 4, name="coarse"))
    heads = [b("Conv", x, weight) for x in levels]
    first = b("BatchNormalization", heads[0], *parameters)
    second = b("BatchNormalization", heads[1], *parameters) if shared else b.batch_norm(heads[1], 6)
    return b.model(b("Add", b("Sigmoid", first), b("Tanh", second)))


def test_calls_that_are_normalized_alike_fold() -> None:
    """Both normalizations go, and one weight serves both calls."""
    model, report = fold_tied(head_on_two_levels(shared=True))
    assert (report.removed_count, kernels(model)) == (2, 1)


def test_a_second_normalization_stays() -> None:
    """The first takes the weight; the second says that it is shared, and with copies both would go."""
    original = head_on_two_levels(shared=False)
    model, report = fold_tied(original)
    assert (report.kept_count, kernels(model)) == (1, 1)
    assert fold(original.clone()).kept_count == 0


def test_only_one_call_is_normalized() -> None:
    """The other call, whose result is an output, keeps the weight as it is."""
    b = Builder()
    x, weight = b.input("N", 3, 5, 4), b.normal(6, 3, 2, 2)
    model, report = fold_tied(b.model(b("Relu", b.batch_norm(b("Conv", x, weight), 6)), b("Conv", x, weight)))
    assert (report.kept_count, kernels(model)) == (1, 1)
    detail = report.batch_norms[0].detail
    assert "its weight is shared, and stays one value" in detail


def test_the_other_call_takes_the_scale_along() -> None:
    """Where what follows can undo the scale, the call without a normalization carries it too."""
    b = Builder()
    x, weight = b.input("N", 3, 5, 4), b.normal(6, 3, 1, 1)
    normal = b("Sigmoid", b.batch_norm(b("Conv", x, weight), 6))
    plain = b.conv(b("Relu", b("Conv", x, weight)), 6, 6, 1, 1)
    _, report = fold_tied(b.model(b("Add", normal, plain)))
    assert report.kept_count == 0


@pytest.mark.parametrize("reader", ["data", "transpose", "output"])
def test_a_weight_that_others_read(reader: str) -> None:
    """As data, in the other direction, or as an output, the weight keeps its values; a bias can still be had."""
    b = Builder()
    x, weight = b.input("N", 4), b.normal(4, 4)
    y = b("Relu", b.batch_norm(b("MatMul", x, weight), 4))
    other = {
        "data": lambda: b("Max", weight, b.input(4, 4, name="least")),
        "transpose": lambda: b("MatMul", y, b("Transpose", weight, perm=[1, 0])),
        "output": lambda: weight,
    }[reader]()
    model, report = fold_tied(b.model(y, other))
    assert report.kept_count == 1
    assert (
        sum(
            value.const_value is not None and value.const_value.size == 16
            for value in model.graph.initializers.values()
        )
        == 1
    )


def test_two_layouts_of_one_weight() -> None:
    """A Gemm and a MatMul that read a weight the same way round, one by a Transpose, share it on."""
    b = Builder()
    weight, parameters = b.normal(5, 4), [b.positive(5), b.normal(5), b.normal(5), b.positive(5)]
    vector = b("Gemm", b.input("N", 4), weight, transB=1)
    other = b("MatMul", b.input("N", 4, name="other"), b("Transpose", weight, perm=[1, 0]))
    normal = [b("BatchNormalization", x, *parameters) for x in (vector, other)]
    _, report = fold_tied(b.model(b("Mul", b("Sigmoid", normal[0]), b("Tanh", normal[1]))))
    assert report.kept_count == 0


def test_zeros_in_gamma_do_not_silence_a_shared_weight() -> None:
    """γ = 0 would zero a channel that the other call reads."""
    b = Builder()
    x, weight = b.input("N", 3, 5, 4), b.normal(2, 3, 2, 2)
    normal = b.batch_norm(b("Conv", x, weight), 2, gamma=[0.0, 1.0])
    _, report = fold_tied(b.model(b("Add", b("Sigmoid", normal), b("Sigmoid", b("Conv", x, weight)))))
    assert [outcome.reason for outcome in report.batch_norms] == ["zero-scale"]
