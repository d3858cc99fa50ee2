"""The float64 twin of a graph: same numbers, wider types, and the original left alone."""

import gc
from weakref import ref

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from bnfold.verify.oracle import Oracle, widened
from tests.verify.graphs import model, single


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_initializers_keep_their_numbers(dtype: type) -> None:
    """A third, which no type holds exactly, stays the stored third, to the last bit."""
    stored = np.array([1 / 3, -1e-3, 300.0]).astype(dtype)
    tensor = helper.np_dtype_to_tensor_dtype(stored.dtype)
    add = helper.make_node("Add", ["x", "c"], ["y"])
    proto = model([add], {"x": [3]}, {"y": [3]}, {"c": stored}, dtype=tensor)
    y = Oracle(ir.from_proto(proto)).run({"x": np.zeros(3, dtype)})["y"]
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, stored.astype(np.float64))


def test_constants_in_nodes_are_widened() -> None:
    """Constant in all its float forms, ConstantOfShape with and without a value: double, of the stored float32."""
    nodes = [
        helper.make_node("Constant", [], ["a"], value=numpy_helper.from_array(single(0.1))),
        helper.make_node("Constant", [], ["b"], value_float=0.1),
        helper.make_node("Constant", [], ["c"], value_floats=[0.1]),
        helper.make_node("ConstantOfShape", ["one"], ["d"], value=numpy_helper.from_array(single(0.1))),
        helper.make_node("ConstantOfShape", ["one"], ["e"]),
        helper.make_node("Sum", ["a", "b", "c", "d", "e", "x"], ["y"]),
    ]
    proto = model(nodes, {"x": [1]}, {"y": [1]}, {"one": np.array([1])})
    y = Oracle(ir.from_proto(proto)).run({"x": np.zeros(1, np.float32)})["y"]
    assert y.item() == 4 * np.float64(np.float32(0.1))


def test_casts_to_narrow_types_round_nothing() -> None:
    """Rounding is what the oracle leaves out; casts to integers remain."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Cast", ["whole"], ["z"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, {"x": [1]}, {"y": [1], "z": [1]})
    third = np.array([7 / 3])
    result = Oracle(ir.from_proto(proto)).run({"x": third})
    assert (result["y"].item(), result["z"].item()) == (third.item(), 2.0)


def test_branches_are_widened() -> None:
    """Initializers and constants inside the branches of If are double as well."""
    port = helper.make_tensor_value_info("branch", TensorProto.FLOAT, [1])
    stored = numpy_helper.from_array(single(0.1), "inner")
    add = helper.make_node("Add", ["x", "inner"], ["branch"])
    branch = helper.make_graph([add], "then", [], [port], [stored])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch, else_branch=branch),
    ]
    proto = model(nodes, {"x": [1]}, {"y": [1]}, {"zero": np.array(0, np.float32)})
    y = Oracle(ir.from_proto(proto)).run({"x": single(2)})["y"]
    assert y.item() == 2 + np.float64(np.float32(0.1))


def test_numbers_are_shared_and_given_back() -> None:
    """Two twins hold one array; when an oracle releases its weights nobody has it, and the next run makes it again."""
    proto = model([helper.make_node("Add", ["x", "c"], ["y"])], {"x": [3]}, {"y": [3]}, {"c": single(1, 2, 3)})
    stored = ir.from_proto(proto)
    oracle = Oracle(stored)
    twins = [widened(stored).graph.initializers["c"].const_value for _ in range(2)]
    assert twins[0] is twins[1]
    held = ref(twins[0])
    twins.clear()
    gc.collect()
    assert held() is not None
    before = oracle.run({"x": single(0, 0, 0)})["y"]
    oracle.release_weights()
    assert held() is None
    np.testing.assert_array_equal(oracle.run({"x": single(0, 0, 0)})["y"], before)


def test_the_model_passed_in_is_not_changed() -> None:
    """The twin shares nothing that is edited: the serialized original is the same before and after."""
    nodes = [helper.make_node("Constant", [], ["c"], value_float=0.5), helper.make_node("Add", ["x", "c"], ["y"])]
    original = ir.from_proto(model(nodes, {"x": ["N"]}, {"y": ["N"]}))
    before = ir.to_proto(original).SerializeToString()
    twin = widened(original)
    Oracle(original).run({"x": np.ones(2, np.float32)})
    assert ir.to_proto(original).SerializeToString() == before
    assert {value.dtype for value in (*twin.graph.inputs, *twin.graph.outputs)} == {ir.DataType.DOUBLE}
