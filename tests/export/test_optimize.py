"""Tests of ``bnfold.export.optimize``: less graph, the same function, the same signature."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from bnfold.errors import InputError
from bnfold.export import optimize
from bnfold.export.optimize import SHARED_INITIALIZER_LIMIT
from bnfold.graph import load
from bnfold.graph.constant_folding import MAX_GROWTH
from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import open_session

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

ROUNDING = 1e-13
"""Relative, in float64: a few dozen roundings of 2⁻⁵³ by operators that an opset has put in the place of others."""


def parse(body: str, signature: str, *, opset: int = 17, ir_version: int = 8, more: str = "") -> ir.Model:
    """Return a model with the given nodes and value infos."""
    text = f'<ir_version: {ir_version}, opset_import: ["": {opset}]> g {signature} {more} {{ {body} }}'
    return ir.from_proto(parser.parse_model(text))


def operators(model: ir.Model) -> list[str]:
    """Return the operators in order."""
    return [node.op_type for node in model.graph]


def randomized(name: str) -> ir.Model:
    """Return one of the onnx package's networks, its constants (all the same, as shipped) replaced by random ones."""
    model, generator = load(LIGHT / f"light_{name}.onnx"), np.random.default_rng(0)
    for node in [node for node in model.graph if node.op_type == "ConstantOfShape"]:
        shape = node.inputs[0].const_value if node.inputs[0] else None
        assert shape is not None
        extents = shape.numpy().tolist()
        values = generator.normal(size=extents) / max(1, np.prod(extents[1:])) ** 0.5
        tensor = ir.tensor((np.abs(values) if "var" in str(node.name) else values).astype(np.float32))
        constant = ir.node("Constant", [], {"value": tensor})
        model.graph.insert_before(node, constant)
        node.outputs[0].replace_all_uses_with(constant.outputs[0])
        model.graph.remove(node, safe=True)
    return model


def feeds(model: ir.Model) -> dict[str, npt.NDArray[np.float32]]:
    """Return random values for every input, 3 for a symbolic extent."""
    generator = np.random.default_rng(1)
    shapes = {value.name or "": value.shape for value in model.graph.inputs if not value.is_initializer()}
    return {
        name: generator.normal(size=[dim if isinstance(dim, int) else 3 for dim in shape or ()]).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("opset", [None, 13, 17, 20, 21, 26])
@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_a_real_network_computes_the_same_with_less(name: str, opset: int | None) -> None:
    """With random weights, in float64: bit for bit in its own opset, but for rounding in others."""
    model = randomized(name)
    before, inputs, nodes = Oracle(model), feeds(model), len(model.graph)
    expected = before.run(inputs)
    optimize(model, opset=opset)
    result = Oracle(model).run(inputs)
    assert result.keys() == expected.keys()
    for key, value in expected.items():
        bound = 0 if opset is None else ROUNDING * np.abs(value).max()
        np.testing.assert_allclose(result[key], value, rtol=0, atol=bound)
    assert len(model.graph) < nodes
    assert {"Constant", "Dropout", "Identity"}.isdisjoint(operators(model))
    assert opset is None or model.opset_imports[""] == opset
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_inputs_and_outputs_keep_name_type_order_and_symbols() -> None:
    """Two of each, with their own symbols, also where an output is an input or another output."""
    signature = "(float[N, 3] b, float[M, 3] a) => (float[N, 3] z, float[N, 3] y, float[M, 3] x)"
    model = parse("z = Relu(b) y = Identity(z) x = Identity(a)", signature)
    before = [(value.name, value.type, value.shape) for value in (*model.graph.inputs, *model.graph.outputs)]
    optimize(model)
    assert before == [(value.name, value.type, value.shape) for value in (*model.graph.inputs, *model.graph.outputs)]


def test_a_stale_declaration_is_not_believed() -> None:
    """A batch of 1 left in a value info, and one in an output, must not become constants of the graph."""
    body = """h = Relu(x) s = Shape(h) zero = Constant<value_ints: ints = [0]>() n = Gather<axis: int = 0>(s, zero)
        m = Constant<value_ints: ints = [-1]>() t = Concat<axis: int = 0>(n, m) z = Reshape(h, t)"""
    model = parse(body, "(float[N, 3, 2] x) => (float[A, B] z)", more="<float[1, 3, 2] h>")
    optimize(model)
    x = np.ones((4, 3, 2), np.float32)
    assert Oracle(model).run({"x": x})["z"].shape == (4, 6)
    model = parse("y = Identity(x)", "(float[N, 3] x) => (float[1, 3] y)")
    optimize(model)
    assert model.graph.inputs[0].shape == ir.Shape(["N", 3])


def test_declarations_of_initializers_in_old_files_become_constants() -> None:
    """Before IR version 4 every initializer is listed as an input; the runtime would not take it for constant."""
    model = parse(
        "y = Add(x, w)", "(float[N, 2] x, float[2] w) => (float[N, 2] y)", ir_version=3, more="<float[2] w = {1, 2}>"
    )
    optimize(model)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert list(model.graph.initializers) == ["w"]
    assert model.ir_version == 4


def test_defaults_in_newer_files_stay_inputs() -> None:
    """There, an initializer that is an input may be overridden by the caller."""
    body, signature = "v = Neg(w) y = Add(x, v)", "(float[N, 2] x, float[2] w) => (float[N, 2] y)"
    model = parse(body, signature, more="<float[2] w = {1, 2}>")
    optimize(model)
    assert [value.name for value in model.graph.inputs] == ["x", "w"]
    assert operators(model) == ["Neg", "Add"]


def test_equal_nodes_and_equal_small_initializers_are_shared() -> None:
    """Two equal sums become one; equal constants become one initializer."""
    body = """a = Constant<value: tensor = float[2] {1, 2}>() b = Constant<value: tensor = float[2] {1, 2}>()
        p = Add(x, a) q = Add(x, b) y = Mul(p, q)"""
    model = parse(body, "(float[N, 2] x) => (float[N, 2] y)")
    optimize(model)
    assert operators(model) == ["Add", "Mul"]
    assert len(model.graph.initializers) == 1


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Transpose<perm: ints = [0, 2, 3, 1]>(x) b = Transpose<perm: ints = [0, 3, 1, 2]>(a) y = Relu(b)", []),
        (
            "a = Transpose<perm: ints = [0, 2, 3, 1]>(x) b = Transpose<perm: ints = [0, 2, 3, 1]>(a) y = Relu(b)",
            [[0, 3, 1, 2]],
        ),
        ("a = Transpose<perm: ints = [0, 1, 2, 3]>(x) y = Relu(a)", []),
        ("a = Transpose<perm: ints = [0, 2, 3, 1]>(x) y = Transpose<perm: ints = [0, 3, 1, 2]>(a)", []),
    ],
)
def test_transpositions_in_a_row_are_one_or_none(body: str, left: list[list[int]]) -> None:
    """They cancel, or compose; an output keeps its name."""
    model = parse(body, "(float[3, 3, 3, 3] x) => (float[3, 3, 3, 3] y)")
    before, inputs = model.clone(), feeds(model)
    optimize(model)
    assert [list(node.attributes["perm"].as_ints()) for node in model.graph if node.op_type == "Transpose"] == left
    np.testing.assert_array_equal(Oracle(model).run(inputs)["y"], Oracle(before).run(inputs)["y"])


def test_large_initializers_are_not_compared() -> None:
    """Above the limit both stay: memory is not doubled."""
    model = parse("p = Add(x, a) y = Mul(p, b)", "(float[N] x, float[N] a, float[N] b) => (float[N] y)")
    for value in list(model.graph.inputs[1:]):
        value.const_value = ir.tensor(np.ones(SHARED_INITIALIZER_LIMIT + 1, np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    optimize(model)
    assert len(model.graph.initializers) == 2


def test_a_giant_constant_stays_a_node() -> None:
    """The file stays small."""
    body = "s = Constant<value_ints: ints = [4, 99999]>() w = ConstantOfShape(s) y = MatMul(x, w)"
    model = parse(body, "(float[N, 4] x) => (float[N, 99999] y)")
    assert MAX_GROWTH < 4 * 99999
    optimize(model)
    assert operators(model) == ["ConstantOfShape", "MatMul"]
    assert sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None) < 100


def test_outputs_that_a_node_leaves_out_are_not_taken_for_values() -> None:
    """Two LSTMs that differ in which outputs they name are not one; onnx-ir's pass would lose a value."""
    body = ", h = LSTM<hidden_size: int = 2>(x, w, r) q, c = LSTM<hidden_size: int = 2>(x, w, r) y = Relu(q)"
    signature = """(float[5, N, 3] x, float[1, 8, 3] w, float[1, 8, 2] r)
        => (float[5, 1, N, 2] y, float[1, N, 2] h, float[1, N, 2] c)"""
    model = parse(body, signature)
    inputs = {"x": np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)}
    inputs |= {"w": np.ones((1, 8, 3), np.float32), "r": np.ones((1, 8, 2), np.float32)}
    with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
        expected = session.run(inputs)
    optimize(model)
    with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
        result = session.run(inputs)
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)


def test_random_nodes_are_not_shared() -> None:
    """Two dropouts in training mode draw twice."""
    body = """r = Constant<value: tensor = float {0.5}>() t = Constant<value: tensor = bool {1}>()
        a = Dropout(x, r, t) b = Dropout(x, r, t) y = Sub(a, b)"""
    model = parse(body, "(float[N, 2] x) => (float[N, 2] y)")
    optimize(model)
    assert operators(model).count("Dropout") == 2


@pytest.mark.parametrize(("dtype", "code"), [("float16", 10), ("double", 11)])
def test_other_precisions_stay_what_they_are(dtype: str, code: int) -> None:
    """Constants folded in half and double keep their type, and the runtime's result is the same.

    In half it is the same up to the roundings of four operators, which ONNX Runtime's CPU provider skips: it runs a
    chain of them in float32.
    """
    body = f"""f = Constant<value: tensor = float[2] {{1.5, 3.3}}>() a = Cast<to: int = {code}>(f)
        b = Sqrt(a) c = Div(b, a)
        e = Constant<value_ints: ints = [2, 2]>() d = Expand(c, e) y = MatMul(x, d)"""
    model = parse(body, f"({dtype}[N, 2] x) => ({dtype}[N, 2] y)")
    x = {"x": np.random.default_rng(0).normal(size=(5, 2)).astype(dtype)}
    with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
        expected = session.run(x)["y"]
    optimize(model)
    assert operators(model) == ["MatMul"]
    with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
        result = session.run(x)["y"]
    assert result.dtype == dtype
    roundings = 0 if dtype == "double" else 4 * 2**-11 * np.abs(x["x"]).sum(1).max()
    np.testing.assert_allclose(result, expected, rtol=0, atol=roundings)


def test_exporters_traces_and_unused_domains_go() -> None:
    """Local paths do not travel; users' keys do."""
    model = parse("y = Relu(x)", "(float[N, 2] x) => (float[N, 2] y)")
    model.graph[0].metadata_props.update({"pkg.torch.onnx.stack_trace": "/home/me/net.py", "author": "me"})
    model.graph.opset_imports["pkg.onnxscript.torch_lib"] = 1
    optimize(model)
    assert dict(model.graph[0].metadata_props) == {"author": "me"}
    assert model.graph.opset_imports == {"": 17}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Relu(missing)", "missing"),
        ("y = NoSuchOperator(x)", "No Op registered for NoSuchOperator"),
        ("y = Relu<alpha: int = 1>(x)", "Unrecognized attribute: alpha"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_invalid_model_is_refused(body: str, reason: str) -> None:
    """In one line, with what the checker says."""
    model = parse(body, "(float[N, 2] x) => (float[N, 2] y)")
    with pytest.raises(InputError, match=f"not a valid ONNX model: .*{reason}") as caught:
        optimize(model)
    assert "\n" not in str(caught.value)


def test_a_graph_that_a_pass_cannot_handle_stays_as_it_was() -> None:
    """With a warning: onnxscript's constant folding fails on a split whose size is computed."""
    body = "s = SplitToSequence<axis: int = 0>(x, n) y = ConcatFromSequence<axis: int = 0>(s)"
    model = parse(body, "(float[N, 2] x, int64 n) => (float[M, 2] y)", opset=20)
    before = ir.to_proto(model).SerializeToString()
    with pytest.warns(UserWarning, match="the graph stays as it was, since optimizing it failed: .*SplitToSequence"):
        optimize(model)
    assert ir.to_proto(model).SerializeToString() == before
