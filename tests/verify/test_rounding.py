from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from bnfold.verify.evidence import evaluate_candidate
from bnfold.verify.oracle import Oracle
from bnfold.verify.rounding import UNIT_ROUNDOFF, RoundedAgain, precision
from bnfold.verify.tolerance import Size
from tests.verify.graphs import model, network, random_layers, single

T = TypeVar("T")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_move_by_at_most_half_a_unit(dtype: type) -> None:
    """Each number moves, by no more than the unit roundoff of the type it is stored in, and by nearly as much."""
    weights = np.random.default_rng(0).standard_normal((20, 30)).astype(dtype)
    tensor = helper.np_dtype_to_tensor_dtype(weights.dtype)
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 20]}, {"y": [1, 30]}, {"w": weights}, dtype=tensor
    )
    graph = ir.from_proto(proto)
    moved = RoundedAgain(graph, np.random.default_rng(1))["w"]
    exact = weights.astype(np.float64)
    relative = np.abs(moved - exact) / np.abs(exact) / UNIT_ROUNDOFF[precision(graph)]
    assert 0.9 < relative.max() <= 1 + 1e-6
    assert np.median(relative) == pytest.approx(0.5, abs=0.1)  # of 600 uniform numbers: standard error 0.02


def test_all_weights_move_and_nothing_else() -> None:
    """Every parameter of every Conv and BatchNormalization takes part."""
    graph = ir.from_proto(network(random_layers()))
    assert RoundedAgain(graph, np.random.default_rng(0)).keys() == graph.graph.initializers.keys()


def test_scales_of_resize_do_not_move() -> None:
    """A factor of two that became a little less would change the shape of the output."""
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["scaled"]),
        helper.make_node("Resize", ["scaled", "", "factors"], ["y"], mode="nearest"),
    ]
    tensors = {"gain": single(3), "factors": single(1, 1, 2)}
    graph = ir.from_proto(model(nodes, {"x": ["N", 2, 4]}, {"y": ["N", 2, 8]}, tensors))
    assert RoundedAgain(graph, np.random.default_rng(0)).keys() == {"gain"}


def test_weights_behind_a_transpose_move() -> None:
    """Operators that only arrange numbers do not hide a weight."""
    nodes = [helper.make_node("Transpose", ["w"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    graph = ir.from_proto(model(nodes, {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": np.ones((2, 3), "f")}))
    assert RoundedAgain(graph, np.random.default_rng(0)).keys() == {"w"}


@pytest.mark.parametrize(("outputs", "draws"), [(10, 4), (499, 4), (500, 2), (2000, 2)])
def test_two_draws_tell_as_much_of_many_numbers(outputs: int, draws: int) -> None:
    """Few numbers take four; the root mean square of n is off that of many draws by no more than 5/√(2n)."""
    generator, weights = np.random.default_rng(0), np.random.default_rng(1)
    w = weights.standard_normal((30, outputs)).astype(np.float32)
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 30]}, {"y": [1, outputs]}, {"w": w})
    graph, inputs = ir.from_proto(proto), {"x": weights.standard_normal((1, 30)).astype(np.float32)}
    drawn: list[int] = []

    def progress(
        items: Iterable[T], *, description: str, total: int | None = None, samples: object = None
    ) -> Iterator[T]:
        for item in items:
            drawn.append(description == "float64, weights rounded anew")
            yield item

    found = evaluate_candidate(graph, inputs, [slice(0, 1)], progress).rounding["y"]
    oracle = Oracle(graph)
    exact = oracle.run(inputs)["y"]
    many = [oracle.run(inputs, weights=RoundedAgain(graph, generator))["y"] for _ in range(50)]
    assert sum(drawn) == draws
    assert found.rms == pytest.approx(
        Size.pooled([Size.of(y - exact) for y in many]).rms, rel=5 / np.sqrt(2 * draws * outputs)
    )


def test_precision_is_that_of_the_coarsest_weight() -> None:
    """One weight in half precision makes a graph one of half precision; one without weights takes its outputs' type."""
    half = model(
        [helper.make_node("Mul", ["x", "w"], ["y"])], {"x": [2]}, {"y": [2]}, {"w": np.ones(2, np.float16)}, dtype=10
    )
    plain = model([helper.make_node("Abs", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, dtype=TensorProto.DOUBLE)
    assert precision(ir.from_proto(half)) == ir.DataType.FLOAT16
    assert precision(ir.from_proto(plain)) == ir.DataType.DOUBLE
    assert precision(ir.from_proto(network(random_layers()))) == ir.DataType.FLOAT
