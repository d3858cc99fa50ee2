"""Subgraphs: loops that collect, scans of any axis and direction, branches, with the oracle's own operators inside."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from bnfold.errors import InputError
from bnfold.verify.oracle import Oracle
from tests.verify.oracle.nodes import by_oracle, by_runtime, normal

Arrays = dict[str, npt.NDArray[Any]]


def graph_with(node: onnx.NodeProto, inputs: Arrays, constants: Arrays) -> onnx.ModelProto:
    """Return a graph of one node with subgraphs; nothing is said about the shapes of its results."""
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "graph", ports, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def compared(node: onnx.NodeProto, inputs: Arrays, constants: Arrays | None = None) -> None:
    """Hold the oracle to ONNX Runtime."""
    proto = graph_with(node, inputs, constants or {})
    for ours, theirs in zip(by_oracle(proto, inputs), by_runtime(proto, inputs), strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_loop_collects_along_a_new_axis() -> None:
    """Values of every turn are stacked, whatever axes they have; weights come from the graph around the body."""
    body = parser.parse_graph(
        """body (int64 turn, bool going, float[1, 2, 5, 4] state)
            => (bool keep, float[1, 2, 5, 4] next, float[1, 2, 5, 4] seen) {
            keep = Identity(going) conv = Conv<pads: ints = [1, 1, 1, 1]>(state, w) next = Tanh(conv)
            seen = Add(next, x) }"""
    )
    node = helper.make_node("Loop", ["turns", "", "x"], ["y", "all"], body=body)
    compared(node, {"x": normal(1, 2, 5, 4)}, {"turns": np.array(4), "w": normal(2, 2, 3, 3, seed=1)})


def test_a_loop_ends_with_its_condition() -> None:
    """Without a limit the body decides, and a name of the graph around it does not hide the loop's own."""
    body = parser.parse_graph(
        """body (int64 turn, bool going, float[2] x) => (bool keep, float[2] next)
        { next = Add(x, x) top = ReduceMax<keepdims: int = 0>(next) keep = Less(top, most) }"""
    )
    node = helper.make_node("Loop", ["", "going", "x"], ["y"], body=body)
    constants = {"going": np.array(True), "most": np.array(100, np.float32)}
    proto = graph_with(node, {"x": np.array([1, 3], np.float32)}, constants)
    (y,) = by_oracle(proto, {"x": np.array([1, 3], np.float32)})
    np.testing.assert_array_equal(y, [64.0, 192.0])


@pytest.mark.parametrize("backward", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_scans_of_any_axis_and_direction(axis: int, backward: int) -> None:
    """Inputs are sliced and outputs stacked as the attributes say."""
    body = parser.parse_graph(
        """body (float[3] state, float[3] part) => (float[3] next, float[3] seen)
        { next = Add(state, part) seen = Sigmoid(next) }"""
    )
    node = helper.make_node(
        "Scan",
        ["h", "x"],
        ["last", "y"],
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_output_axes=[axis],
        scan_input_directions=[backward],
        scan_output_directions=[backward],
    )
    compared(node, {"h": normal(3), "x": normal(3, 7) if axis else normal(7, 3)})


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_branch_that_is_taken(sign: int) -> None:
    """Either branch, with constants of its own, in double."""
    then = parser.parse_graph(
        "then () => (float[2, 3] a) { third = Constant<value = float {0.1}>() a = Mul(x, third) }"
    )
    other = parser.parse_graph("other () => (float[2, 3] b) { b = Softmax(x) }")
    node = helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other)
    compared(node, {"x": normal(2, 3)}, {"positive": np.array(sign > 0)})


def test_a_loop_that_never_runs_collects_nothing_known() -> None:
    """What it would have stacked has no shape."""
    body = parser.parse_graph(
        "body (int64 turn, bool going, float[2] state) => (bool keep, float[2] next, float[2] seen) "
        "{ keep = Identity(going) next = Neg(state) seen = Abs(state) }"
    )
    node = helper.make_node("Loop", ["turns", "", "x"], ["y", "all"], body=body, name="loop")
    oracle = Oracle(ir.from_proto(graph_with(node, {"x": normal(2)}, {"turns": np.array(0)})))
    with pytest.raises(InputError, match=r"'loop' \(Loop\): it runs not once"):
        oracle.run({"x": normal(2)})
