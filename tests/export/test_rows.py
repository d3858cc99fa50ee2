"""Tests of ``bnfold.export.rows``: linear layers over the last axis as Gemm, where a stored shape brings them back."""

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from bnfold.export import optimize
from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import open_session

K, M, N = 5, 4, 3
SHAPES = {"w": (K, M), "v": (M, N), "b": (M,), "c": (N,), "q": (2, M), "d": (1, 1, 1, M), "e": (1, M)}


def network(body: str, signature: str, *, dtype: str = "float") -> ir.Model:
    """Return a model whose weights and biases are small integers, so that sums are exact in any order."""
    generator = np.random.default_rng(0)
    stored = []
    for name, shape in SHAPES.items():
        numbers = ", ".join(str(number) for number in generator.integers(-4, 5, int(np.prod(shape))))
        stored.append(f"{dtype}[{', '.join(map(str, shape))}] {name} = {{{numbers}}}")
    text = f'<ir_version: 8, opset_import: ["": 17]> g {signature} <{", ".join(stored)}> {{ {body} }}'
    return ir.from_proto(parser.parse_model(text))


def integers(*shape: int) -> npt.NDArray[np.float32]:
    """Return small integers as float32."""
    return np.random.default_rng(1).integers(-4, 5, shape).astype(np.float32)


def operators(model: ir.Model) -> list[str]:
    """Return the operators in order."""
    return [node.op_type for node in model.graph]


def assert_unchanged(before: ir.Model, after: ir.Model, x: npt.NDArray[np.float32]) -> None:
    """Both compute the same; the runtime takes an empty batch, too."""
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    expected, result = Oracle(before).run({"x": x}), Oracle(after).run({"x": x})
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)
    with open_session(ir.to_proto(after).SerializeToString(), optimized=False) as session:
        for name, value in session.run({"x": x[:0]}).items():
            assert value.shape == (0, *expected[name].shape[1:])


TWO_LAYERS = "h = MatMul(x, w) i = Add(h, b) r = Relu(i) j = MatMul(r, v) y = Add(c, j)"


@pytest.mark.parametrize(("extents", "front"), [("L, 6, 2", (2, 6, 2)), ("L, 6", (2, 6)), ("4", (4,)), ("L", (3,))])
def test_layers_in_a_row_are_reshaped_once(extents: str, front: tuple[int, ...]) -> None:
    """Any rank: rows, Gemm, activation, Gemm, and the shape back; without reshapes where the rows are the tensor."""
    model = network(TWO_LAYERS, f"(float[{extents}, {K}] x) => (float[{extents}, {N}] y)")
    before, shape = model.clone(), model.graph.outputs[0].shape
    optimize(model)
    around = ["Reshape"] if len(front) > 1 else []
    assert operators(model) == [*around, "Gemm", "Relu", "Gemm", *around]
    assert (model.graph.outputs[0].name, model.graph.outputs[0].shape) == ("y", shape)
    x = integers(*front, K)
    if extents.startswith("L"):
        assert_unchanged(before, model, x)
    again = model.clone()
    optimize(again)
    assert ir.to_proto(again).SerializeToString() == ir.to_proto(model).SerializeToString()


@pytest.mark.parametrize(
    "body",
    [
        "i = MatMul(x, w) j = Sub(i, b) y = Relu(j)",  # not an Add
        "i = MatMul(x, w) j = Add(i, q) y = Relu(j)",  # by place, too
        "i = MatMul(x, w) j = Add(i, d) y = Relu(j)",  # adds an axis
        "i = MatMul(x, w) j = Add(i, i) y = Relu(j)",
        "i = MatMul(x, w) j = Add(i, b) k = Relu(i) y = Mul(j, k)",  # the product is read twice
        "i = MatMul(x, z) j = Add(i, b) y = Relu(j)",  # not a stored matrix
    ],
)
def test_other_nodes_stay(body: str) -> None:
    """What is not a product with a bias for each column."""
    shape = f"1, L, 2, {M}" if "Add(i, d)" in body else f"L, 2, {M}"
    model = network(body, f"(float[L, 2, {K}] x, float[{K}, {M}] z) => (float[{shape}] y)")
    optimize(model)
    assert "MatMul" in operators(model)
    assert "Gemm" not in operators(model)


def test_two_unknown_extents_stay() -> None:
    """No stored shape says what to come back to."""
    model = network(TWO_LAYERS, f"(float[B, L, {K}] x) => (float[B, L, {N}] y)")
    optimize(model)
    assert operators(model) == ["MatMul", "Add", "Relu", "MatMul", "Add"]


def test_a_product_that_is_an_output_stays() -> None:
    """Its name and shape are the caller's."""
    model = network(
        "i = MatMul(x, w) y = Add(i, b)", f"(float[B, 2, {K}] x) => (float[B, 2, {M}] y, float[B, 2, {M}] i)"
    )
    optimize(model)
    assert operators(model) == ["MatMul", "Add"]


def test_doubles_stay() -> None:
    """Only float32 was measured."""
    model = network(TWO_LAYERS, f"(double[B, 2, {K}] x) => (double[B, 2, {N}] y)", dtype="double")
    optimize(model)
    assert operators(model) == ["MatMul", "Add", "Relu", "MatMul", "Add"]


def test_a_bias_with_leading_ones_and_an_activation_with_attributes() -> None:
    """The bias is stored as a vector, the activation keeps its attributes and comes before the shape."""
    body = "i = MatMul(x, w) j = Add(i, e) y = LeakyRelu<alpha: float = 0.3>(j)"
    model = network(body, f"(float[B, 2, {K}] x) => (float[B, 2, {M}] y)")
    before = model.clone()
    optimize(model)
    assert operators(model) == ["Reshape", "Gemm", "LeakyRelu", "Reshape"]
    assert_unchanged(before, model, integers(3, 2, K))


def test_two_reshapes_around_an_activation_cancel() -> None:
    """A normalization over (N, L, C) is exported between reshapes, as (N·L, C); the Relu behind it is no obstacle."""
    body = """s = Constant<value_ints: ints = [-1, 6, 5]>() t = Constant<value_ints: ints = [-1, 5]>()
        a = Tanh(x) i = Reshape(a, s) j = Relu(i) k = Reshape(j, t) y = Sigmoid(k)"""
    model = network(body, f"(float[B, {K}] x) => (float[B, {K}] y)")
    before = model.clone()
    optimize(model)
    assert operators(model) == ["Tanh", "Relu", "Sigmoid"]
    assert_unchanged(before, model, integers(12, K))
