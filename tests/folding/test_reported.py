"""Graphs on which a reviewer once saw the folder go wrong, each kept by name."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.folding import Objective, Reason, fold
from bnfold.folding.plan import make_plan
from bnfold.graph import infer_shapes, load
from bnfold.verify.oracle import Oracle
from tests.folding.builder import Builder
from tests.folding.checker import fold_checked


def test_one_scalar_of_several_ranks_with_equal_channels() -> None:
    """Rewritten constants that agree in bytes, but not in shape, are not one."""
    b = Builder()
    normal = b.batch_norm(b.input("N", 5, 6, 7), 5, beta=np.zeros(5), mean=np.zeros(5))
    pooled, half = b("GlobalAveragePool", normal), b.stored(0.5)
    fold_checked(b.model(b("Sigmoid", b("Mul", pooled, half)), b("Sigmoid", b("Mul", b("Flatten", pooled), half))))


def test_a_difference_of_scalars() -> None:
    """A label without axes, of values that are added."""
    b = Builder()
    scalar = b("ReduceL1", b("MatMul", b.input(2, 3), b.normal(3, 4)), keepdims=0)
    fold_checked(b.model(b("Sub", scalar, b("Mul", scalar, b.stored(2.0)))))


def test_a_threshold_that_its_type_cannot_hold() -> None:
    """The threshold s·σ would be 10⁶ in float16: the normalization is kept, and nothing overflows."""
    b = Builder(dtype=np.float16)
    normal = b.batch_norm(b.input("N", 3, 5, 5), 3, gamma=[1e-2] * 3, beta=[-1e4] * 3, mean=[0] * 3, variance=[1] * 3)
    model = b.model(b("Conv", b("Relu", normal), b.stored(np.ones((4, 3, 1, 1)))))
    report = fold(model, Objective.NO_BN)
    assert (report.removed_count, report.kept_count) == (0, 1)


def test_a_kept_factor_that_would_become_zero() -> None:
    """γ/√(Var + ε) times the factor behind is below what float16 holds: the output does not become 0."""
    b = Builder(dtype=np.float16)
    normal = b.batch_norm(b.input("N", 2, 3, 3), 2, gamma=[0.01] * 2, beta=[0] * 2, mean=[0] * 2, variance=[6e4] * 2)
    model = b.model(b("Mul", b("GlobalAveragePool", normal), b.stored(np.full((2, 1, 1), 5e-4))))
    fold(model)
    (name,) = (value.name for value in model.graph.outputs)
    assert name is not None
    assert Oracle(model).run({"x": np.ones((2, 2, 3, 3))})[name].all()


def test_a_shift_that_overflows_across_a_kept_map() -> None:
    """The shift reaches the bias that overflows through a Mul that stays, and so through another scale class."""
    b = Builder(dtype=np.float16)
    normal = b.batch_norm(b.input("N", 3, 5, 5), 3, gamma=[1] * 3, beta=[10] * 3, mean=[0] * 3, variance=[1] * 3)
    scaled = b("Mul", normal, b.stored(np.array([0, 3e4, 3e4]).reshape(3, 1, 1)))
    model = b.model(b.conv(b("Relu", b("Conv", scaled, b.stored(np.ones((4, 3, 1, 1))))), 4, 2, 1, 1))
    fold(model)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        assert np.isfinite(value.const_value.numpy()).all()


def test_a_declared_shape_that_is_stale() -> None:
    """A file that says 8×8 of a value whose input is dynamic gets no border map of that size."""
    b = Builder()
    hidden = b("Erf", b.input("N", 3, "H", "W"))
    y = b.conv(b.batch_norm(hidden, 3), 3, 4, 3, 3, pads=[1, 1, 1, 1])
    proto = b.proto(y)
    del proto.graph.value_info[:]
    stale = [
        onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.DOUBLE, [2, None, 8, 8])
        for node in proto.graph.node[:-1]
    ]
    proto.graph.value_info.extend(stale)
    model = ir.from_proto(proto)
    assert infer_shapes(model)[hidden][2:] == ("H", "W")
    original = model.clone()
    fold(model, Objective.NO_BN)
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 6, 5))}
    np.testing.assert_allclose(Oracle(model).run(feeds)[y], Oracle(original).run(feeds)[y], rtol=1e-9)


@pytest.mark.parametrize("link", ["Add", "BatchNormalization"])
def test_a_chain_of_two_thousand(link: str) -> None:
    """Shifts that depend on each other through the whole depth of a graph are resolved without recursion."""
    b = Builder()
    y = b.matmul(b.input("N", 2), 2, 1)
    for _ in range(2000):
        y = b("Add", y, b.normal(1)) if link == "Add" else b.batch_norm(y, 1, gamma=[0.99], variance=[0.75])
    report = fold(b.model(y))
    assert report.elementwise.after <= 1


def test_a_vector_times_activations_of_rank_three() -> None:
    """MatMul of (K,) and (N, K, M) is (N, M), the last axis keeping its gauges."""
    b = Builder()
    rows = b("Transpose", b("MatMul", b.input("N", 5, 7), b.normal(7, 4)), perm=[0, 2, 1])
    fold_checked(b.model(b.batch_norm(b("MatMul", b.normal(4), rows), 5)))


def test_a_clip_from_zero_takes_a_threshold() -> None:
    """Clip(0, ∞) is Relu in everything, its threshold included."""
    b = Builder()
    shared = b("Erf", b.input("N", 3, 4, 4))
    clipped = b("Clip", b.batch_norm(shared, 3), b.stored(0.0))
    folded = fold_checked(b.model(b.conv(clipped, 3, 4, 1, 1)), objective=Objective.NO_BN)
    assert (folded.count("BatchNormalization"), folded.count("Max"), folded.count("Clip")) == (0, 1, 0)


def test_a_file_whose_nodes_are_not_sorted(tmp_path: Path) -> None:
    """ONNX Runtime takes such files, and so does the loader; a cycle is bad input."""
    b = Builder()
    proto = b.proto(b("Relu", b.batch_norm(b.conv(b.input("N", 3, 5, 5), 3, 4, 1, 1), 4)))
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    onnx.save(proto, tmp_path / "unsorted.onnx")
    assert fold(load(tmp_path / "unsorted.onnx")).removed_count == 1
    nodes[0].input[0] = nodes[-1].output[0]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.save(proto, tmp_path / "cycle.onnx")
    with pytest.raises(InputError, match="cycle"):
        load(tmp_path / "cycle.onnx")


@pytest.mark.parametrize("gamma", [1e-3, 1e-6, 1e-12, 1e-38])
def test_a_tiny_gamma_on_a_value_that_is_read_elsewhere(gamma: float) -> None:
    """The shift β/a would drown what a second Conv reads: float32 folds stay as accurate as float32 is."""
    b = Builder(dtype=np.float32)
    trunk = b.conv(b("Relu", b.conv(b.input("N", 3, 6, 6), 3, 8, 3, 3)), 8, 8, 1, 1)
    total = b("Add", trunk, b.conv(trunk, 8, 8, 1, 1))
    gammas = np.where(np.arange(8) % 3 == 0, gamma, 1.0)
    model = b.model(b("GlobalAveragePool", b("Relu", b.batch_norm(total, 8, gamma=gammas, beta=np.ones(8)))))
    original, feeds = model.clone(), {"x": np.random.default_rng(0).standard_normal((4, 3, 6, 6))}
    fold(model)
    for name, expected in Oracle(original).run(feeds).items():
        # 2⁻²⁴ a rounding, five bits that LARGEST_MULTIPLICAND lets go, and a few dozen summands of either sign
        np.testing.assert_allclose(Oracle(model).run(feeds)[name], expected, rtol=0, atol=2**-24 * 32 * 32)


def test_a_bias_that_the_exporter_computes() -> None:
    """Expand(CastLike(0, x), Shape(W)) is a constant, and asks nothing of x but its type."""
    b = Builder(opset=18)
    x = b.input("N", 3, 5, 5)
    bias = b(
        "Expand",
        b("CastLike", b.stored(np.zeros(1)), x),
        b("Slice", b("Shape", weight := b.normal(4, 3, 1, 1)), b.integers(0), b.integers(1)),
    )
    y = b("Relu", b.batch_norm(b("Conv", x, weight, bias), 4))
    model = b.model(y)
    original, feeds = model.clone(), {"x": np.random.default_rng(0).standard_normal((2, 3, 5, 5))}
    assert fold(model).removed_count == 1
    np.testing.assert_allclose(Oracle(model).run(feeds)[y], Oracle(original).run(feeds)[y], rtol=1e-9)


def test_a_shape_that_is_read_holds_nothing() -> None:
    """Reshape to a computed shape: that of the normalized value itself."""
    b = Builder()
    normal = b.batch_norm(b.conv(b.input("N", 3, 5, 5), 3, 4, 1, 1), 4)
    folded = fold_checked(b.model(b("Sigmoid", b("Expand", b("Relu", normal), b("Shape", normal)))))
    assert folded.count("BatchNormalization") == 0


def test_an_objective_may_be_named_by_its_string() -> None:
    """A plain string means the same as the member, and an unknown one is an error, never ignored."""
    b = Builder()
    hidden = b("Erf", b.input("N", 3, 4, 4))
    model = b.model(b.conv(b("Relu", b.batch_norm(hidden, 3)), 3, 4, 1, 1))
    assert fold(model.clone(), Objective("no-bn")).removed_count == 1
    with pytest.raises(ValueError, match="foo"):
        fold(model, "foo")  # pyright: ignore[reportArgumentType]  # what an untyped caller may write


def test_a_tensor_that_two_normalizations_read_one_behind_the_other() -> None:
    """With Var = 0, β/a is large beside what the second one expects; but what is stored is the input, as it was."""
    b = Builder()
    first = b.batch_norm(b.input("N", 1), 1, gamma=[1.4], beta=[0.7], mean=[0.3], variance=[0], epsilon=1e-5)
    second = b.batch_norm(first, 1, gamma=[1.8], beta=[1.3], mean=[1.5], variance=[1.2])
    folded = fold_checked(b.model(b("MatMul", b("Concat", second, first, axis=1), b.normal(2, 1))))
    assert folded.report.kept_count == 0


def test_a_shift_in_two_folds_is_no_larger_than_in_one() -> None:
    """What the first normalization leaves in the ConvTranspose's bias counts when the second is tried once more."""
    b = Builder()
    up = b("ConvTranspose", b.input(2, 4, 1), b.positive(4, 3, 2))
    first = b.batch_norm(
        up, 3, gamma=[-0.48, 1.1, 0.51], beta=[-1.27, 1.27, 1.29], mean=[0.9, 1.5, 1.65], variance=[1.9, 1.7, 1.25]
    )
    second = b.batch_norm(
        b("Neg", first),
        3,
        gamma=[0.29, 1.56, 0.84],
        beta=[1.6, 1.07, 0.3],
        mean=[0.3, 0.48, 0.36],
        variance=[0.28, 0, 0],
    )
    b("LpPool", second, kernel_shape=[1])
    folded = fold_checked(b.model(b("Conv", up, b.stored(np.ones((1, 3, 1))))), objective=Objective.NO_BN)
    assert [outcome.reason for outcome in folded.report.batch_norms] == [None, Reason.WEIGHT_RANGE]


def test_what_kept_a_normalization_may_go_itself() -> None:
    """Two ask for shifts of what a Conv reads besides, together too large: once the one is gone, the other can go."""
    b = Builder()
    trunk = b.conv(b.input("N", 3, 1, 1), 3, 1, 1, 1)
    steep = b.batch_norm(trunk, 1, gamma=[0.36], beta=[0.6], mean=[-3.0], variance=[0.3])
    b.batch_norm(trunk, 1, gamma=[0.3], beta=[1.4], mean=[-2.4], variance=[0.5])
    model = b.model(b.conv(steep, 1, 1, 1, 1), b.conv(trunk, 1, 1, 1, 1))
    assert [outcome.reason for outcome in make_plan(model).outcomes.values()].count(Reason.WEIGHT_RANGE) == 1
    assert fold_checked(model).report.kept_count == 0


def test_a_border_map_goes_where_it_can() -> None:
    """It varies along the axis that a MatMul contracts, and becomes a constant behind it."""
    b = Builder()
    padded = b.conv(b.batch_norm(b("Erf", b.input(2, 3, 1, 4)), 3), 3, 1, 1, 1, pads=[0, 1, 0, 1])
    folded = fold_checked(b.model(b("MatMul", padded, b.normal(6, 2))), objective=Objective.NO_BN)
    assert (folded.report.kept_count, folded.count("Add"), folded.report.pointwise_removed) == (0, 1, ())


def test_a_weight_that_is_an_input_is_named() -> None:
    """A Conv whose weight comes at run time holds what it computes: it stands in the way, and why."""
    b = Builder()
    conv = b("Conv", b.input("N", 3, 5, 4), b.input(4, 3, 2, 2, name="w"), name="conv")
    model = b.model(b.batch_norm(conv, 4))
    inputs = {"x": np.ones((2, 3, 5, 4)), "w": np.ones((4, 3, 2, 2))}
    (kept,) = fold_checked(model, inputs).report.batch_norms
    assert kept.witness == "Conv conv (w is not a constant); an output of the graph"
