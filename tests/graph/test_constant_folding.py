"""Tests of ``bnfold.graph.constant_folding``: exact, bounded, and only what it is allowed to touch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser

from bnfold.graph.constant_folding import EXACT, MAX_GROWTH, fold_constants

FLOATS = ("float16", "float32", "float64")


def one_node(
    op_type: str,
    inputs: Sequence[npt.NDArray[Any]],
    attributes: Mapping[str, Any] | None = None,
    opset: int = 20,
) -> onnx.ModelProto:
    """Return a graph of one node on constants, whose result is also copied."""
    names = [f"input_{index}" for index in range(len(inputs))]
    nodes = [helper.make_node(op_type, names, ["y"], **(attributes or {})), helper.make_node("Identity", ["y"], ["z"])]
    initializers = [numpy_helper.from_array(array, name) for array, name in zip(inputs, names, strict=True)]
    outputs = [helper.make_tensor_value_info("z", initializers[0].data_type, None)]
    graph = helper.make_graph(nodes, "graph", [], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    model.graph.output[0].type.CopyFrom(model.graph.value_info[0].type)
    return model


def folded(proto: onnx.ModelProto) -> npt.NDArray[Any]:
    """Return the constant that the graph's only node became."""
    model = ir.from_proto(proto)
    fold_constants(model)
    initializer = model.graph.initializers.get("y") or model.graph.initializers.get("z")
    assert initializer is not None, "not folded"
    assert initializer.const_value is not None
    return initializer.const_value.numpy()


def run(proto: onnx.ModelProto) -> npt.NDArray[Any]:
    """Return what ONNX Runtime computes without optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {})[0])


def values(dtype: str) -> npt.NDArray[Any]:
    """Return 24 values of either sign, none of them 0."""
    numbers = np.random.default_rng(0).normal(size=(2, 3, 4)) * 5
    return (np.sign(numbers) * (np.abs(numbers) + 1)).astype(dtype)


def integers(*numbers: int) -> npt.NDArray[np.int64]:
    """Return an int64 array."""
    return np.array(numbers, np.int64)


@pytest.mark.parametrize("dtype", [*FLOATS, "int32", "int64"])
@pytest.mark.parametrize("opset", [7, 13, 20])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_is_the_runtimes_to_the_last_bit(op_type: str, opset: int, dtype: str) -> None:
    """With broadcasting, and the sign of a quotient of integers."""
    proto = one_node(op_type, [values(dtype), values(dtype)[1, :, :1]], opset=opset)
    result, expected = folded(proto), run(proto)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op_type", ["Abs", "Ceil", "Floor", "Neg", "Reciprocal", "Sqrt"])
def test_functions_are_the_runtimes_to_the_last_bit(op_type: str, dtype: str) -> None:
    """Each of them rounds correctly in every type."""
    array = np.abs(values(dtype)) if op_type == "Sqrt" else values(dtype)
    proto = one_node(op_type, [array])
    assert folded(proto).tobytes() == run(proto).tobytes()


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes", "opset"),
    [
        ("Concat", [values("float32"), values("float32")], {"axis": -1}, 20),
        ("Expand", [values("float32")[:, :1], integers(2, 3, 1)], {}, 20),
        ("Flatten", [values("float32")], {"axis": 2}, 20),
        ("Gather", [values("float32"), integers(2, -1)], {"axis": 1}, 20),
        ("Reshape", [values("float32"), integers(0, -1)], {}, 20),
        ("Slice", [values("float32")], {"axes": [1, 2], "starts": [-2, 0], "ends": [9999, 3]}, 9),
        ("Slice", [values("float32"), integers(-2, 3), integers(9999, -99), integers(1, 2), integers(1, -2)], {}, 20),
        ("Squeeze", [values("float32")[:1]], {"axes": [0]}, 11),
        ("Squeeze", [values("float32")[:1], integers(0)], {}, 20),
        ("Tile", [values("float32"), integers(2, 1, 3)], {}, 20),
        ("Transpose", [values("float32")], {"perm": [1, 2, 0]}, 20),
        ("Unsqueeze", [values("float32")], {"axes": [0, 4]}, 11),
        ("Unsqueeze", [values("float32"), integers(0, -1)], {}, 20),
        ("Where", [values("float32") > 0, values("float32"), values("float32")[0]], {}, 20),
        ("Shape", [values("float32")], {"start": 1}, 20),
        ("Size", [values("float32")], {}, 20),
        ("Equal", [values("int64"), values("int64")[0]], {}, 20),
        ("Less", [values("float32"), values("float32")[0]], {}, 20),
        ("Greater", [values("float32"), values("float32")[0]], {}, 20),
        ("And", [values("float32") > 0, values("float32") > 1], {}, 20),
        ("Or", [values("float32") > 0, values("float32") < 1], {}, 20),
        ("Not", [values("float32") > 0], {}, 20),
        ("Cast", [values("float32") * 1e-7], {"to": onnx.TensorProto.FLOAT16}, 20),
        ("Cast", [values("float64") * 1.1], {"to": onnx.TensorProto.FLOAT}, 20),
        ("Cast", [values("float32")], {"to": onnx.TensorProto.INT32}, 20),
        ("ConstantOfShape", [integers(2, 5)], {"value": helper.make_tensor("v", 10, [1], [2.5])}, 20),
        ("Identity", [values("float32")], {}, 20),
    ],
)
def test_the_others_are_the_runtimes_bit_for_bit(
    op_type: str, inputs: list[npt.NDArray[Any]], attributes: dict[str, object], opset: int
) -> None:
    """Moving and comparing values, with attributes and inputs of either age of the operator."""
    proto = one_node(op_type, inputs, attributes, opset)
    result, expected = folded(proto), run(proto)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    assert result.tobytes() == expected.tobytes()


def test_every_operator_of_the_table_is_tested_here() -> None:
    """The three tests above cover the table, so that an addition to it is seen."""
    marks = [
        mark
        for test in (
            test_arithmetic_is_the_runtimes_to_the_last_bit,
            test_functions_are_the_runtimes_to_the_last_bit,
            test_the_others_are_the_runtimes_bit_for_bit,
        )
        for mark in test.pytestmark  # pyright: ignore[reportFunctionMemberAccess]  (set by pytest)
    ]
    tested = {
        case if isinstance(case, str) else case[0]
        for mark in marks
        for case in mark.args[1]
        if mark.args[0] != "dtype" and not isinstance(case, int)
    }
    assert tested == EXACT


def test_bfloat16_stays_bfloat16() -> None:
    """NumPy knows the type by an extension only; the sum is rounded once."""
    numbers = {"a": [1.0, 256.0], "b": [0.0078125, 1.0]}
    initializers = [ir.tensor(row, dtype=ir.DataType.BFLOAT16, name=name) for name, row in numbers.items()]
    graph_values = [ir.Value(name=t.name, const_value=t) for t in initializers]
    for value in graph_values:
        value.dtype, value.shape = ir.DataType.BFLOAT16, ir.Shape([2])
    node = ir.node("Add", graph_values)
    node.outputs[0].name = "y"
    graph = ir.Graph([], [node.outputs[0]], nodes=[node], initializers=graph_values, opset_imports={"": 20})
    fold_constants(ir.Model(graph, ir_version=10))
    tensor = graph.initializers["y"].const_value
    assert tensor is not None
    assert tensor.dtype == ir.DataType.BFLOAT16
    assert tensor.numpy().astype(np.float64).tolist() == [1.0078125, 256.0]


@pytest.mark.parametrize(
    ("op_type", "dtype"),
    [("Softmax", "float32"), ("ReduceSumSquare", "int32"), ("ReduceMean", "float16"), ("Exp", "float32")],
)
def test_what_is_evaluated_wrongly_or_rounded_in_an_own_way_is_left(op_type: str, dtype: str) -> None:
    """Softmax of opset 12 has other axes, ReduceSumSquare another type, means of float16 and Exp other last bits."""
    model = ir.from_proto(one_node(op_type, [values(dtype)], opset=12))
    fold_constants(model)
    assert model.graph[0].op_type == op_type


@pytest.mark.parametrize(("extent", "remains"), [(MAX_GROWTH, []), (MAX_GROWTH + 2, ["ConstantOfShape"])])
def test_a_giant_stays_a_node(extent: int, remains: list[str]) -> None:
    """One element more than the bound, less those that the shape gives back, and the file does not hold it."""
    model = ir.from_proto(one_node("ConstantOfShape", [integers(extent)]))
    fold_constants(model)
    assert [node.op_type for node in model.graph if node.op_type != "Identity"] == remains


def test_a_giant_is_not_even_evaluated() -> None:
    """A terabyte of zeros would not fit the memory of the machine that folds."""
    model = ir.from_proto(one_node("Expand", [np.zeros(1, np.float32), integers(10**6, 10**6)]))
    fold_constants(model)
    assert model.graph[0].op_type == "Expand"


def test_a_large_weight_that_nothing_else_reads_is_transposed() -> None:
    """The file does not grow: the old weight goes. If something else reads it, both would stay, and it is left."""
    weight = np.zeros((MAX_GROWTH, 2), np.float32)
    assert folded(one_node("Transpose", [weight])).shape == (2, MAX_GROWTH)
    model = ir.from_proto(one_node("Transpose", [weight]))
    model.graph.append(ir.node("Relu", [model.graph.initializers["input_0"]]))
    fold_constants(model)
    assert model.graph[0].op_type == "Transpose"


def test_kept_initializers_stay_as_they_are() -> None:
    """What reads one is not folded, the rest is."""
    model = ir.from_proto(one_node("Mul", [values("float32"), values("float32")]))
    fold_constants(model, keep={"input_1"})
    assert model.graph[0].op_type == "Mul"
    assert "input_1" in model.graph.initializers


def test_an_initializer_that_callers_may_override_is_no_constant() -> None:
    """It is a graph input with a default."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[3] x, float[3] w) => (float[3] y) <float[3] w = {1, 2, 3}> { v = Neg(w) y = Add(x, v) }"""
    model = ir.from_proto(parser.parse_model(text))
    fold_constants(model)
    assert [node.op_type for node in model.graph] == ["Neg", "Add"]


def test_sequences_of_old_opsets_are_left() -> None:
    """onnxscript would take them apart with a Split of opset 18."""
    text = """<ir_version: 8, opset_import: ["": 12]> g (float[4, 3] x) => (float[2, 3] y)
        { two = Constant<value_int: int = 2>() one = Constant<value_int: int = 1>()
          s = SplitToSequence<axis: int = 0>(x, two) y = SequenceAt(s, one) }"""
    model = ir.from_proto(parser.parse_model(text))
    fold_constants(model)
    assert "SplitToSequence" in {node.op_type for node in model.graph}
