"""The walk over the graph: names, intermediate values, memory, and what it refuses."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from bnfold.errors import InputError
from bnfold.verify.oracle import Oracle
from tests.verify.graphs import images, model, network, random_layers, single


def test_symbolic_batch_and_intermediate_values() -> None:
    """Any number of samples can be fed, and any value of the graph asked for, by name and in order."""
    oracle = Oracle(ir.from_proto(network(random_layers())))
    three, seven = oracle.run(images(3)), oracle.run(images(7))
    assert (three["logits"].shape, seven["logits"].shape) == ((3, 10), (7, 10))
    inner = oracle.run(images(3), ["relu0", "logits", "images"])
    assert list(inner) == ["relu0", "logits", "images"]
    assert inner["relu0"].shape == (3, 8, 12, 12)
    np.testing.assert_array_equal(inner["logits"], three["logits"])
    np.testing.assert_array_equal(inner["images"], images(3)["images"].astype(np.float64))


def test_initializers_can_be_replaced_for_a_run() -> None:
    """An initializer fed by its name takes part instead of the stored one, that once."""
    proto = model([helper.make_node("Mul", ["x", "w"], ["y"])], {"x": [2]}, {"y": [2]}, {"w": single(2, 3)})
    oracle = Oracle(ir.from_proto(proto))
    x = single(1, 10)
    assert oracle.run({"x": x, "w": np.array([5.0, 7.0])})["y"].tolist() == [5, 70]
    assert oracle.run({"x": x})["y"].tolist() == [2, 30]


def test_other_weights_are_asked_for_one_by_one() -> None:
    """Each when its first reader's turn has come, once for all its readers; also one that is an output itself."""
    asked: list[str] = []

    class Weights(dict[str, np.ndarray]):
        def __getitem__(self, name: str) -> np.ndarray:
            asked.append(name)
            return super().__getitem__(name)

    nodes = [
        helper.make_node("Mul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "w"], ["b"]),
        helper.make_node("Mul", ["b", "v"], ["y"]),
    ]
    tensors = {"w": single(2), "v": single(3), "c": single(5)}
    proto = model(nodes, {"x": [1]}, {"y": [1], "c": [1]}, tensors)
    found = Oracle(ir.from_proto(proto)).run(
        {"x": single(10)}, weights=Weights(w=np.full(1, 4.0), v=np.full(1, 6.0), c=np.full(1, 7.0))
    )
    assert asked == ["c", "w", "v"]
    assert {name: value.tolist() for name, value in found.items()} == {"y": [(10 * 4 + 4) * 6], "c": [7]}


def test_values_are_freed_after_their_last_reader_but_not_before() -> None:
    """A value that a later branch captures is still there when the branch runs, though no node reads it directly."""
    port = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Neg", ["early"], ["out"])], "branch", [], [port])
    nodes = [
        helper.make_node("Exp", ["x"], ["early"]),
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Sqrt", ["a"], ["b"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Add", ["b", "y"], ["z"]),
    ]
    proto = model(nodes, {"x": [1]}, {"z": [1]}, {"yes": np.array(True)})
    z = Oracle(ir.from_proto(proto)).run({"x": single(4)})["z"]
    assert z.item() == 2 - np.exp(4.0)


@pytest.mark.parametrize("feeds", [{}, {"x": np.ones(2), "extra": np.ones(2)}, {"y": np.ones(2)}])
def test_wrong_names_are_refused(feeds: dict[str, np.ndarray]) -> None:
    """Missing and unknown inputs are named."""
    oracle = Oracle(ir.from_proto(model([helper.make_node("Abs", ["x"], ["y"])], {"x": [2]}, {"y": [2]})))
    with pytest.raises(InputError, match="inputs: expected x, found"):
        oracle.run(feeds)


def test_an_unknown_value_is_refused() -> None:
    """A name that the graph does not have is an error, not an empty result."""
    oracle = Oracle(ir.from_proto(model([helper.make_node("Abs", ["x"], ["y"])], {"x": [2]}, {"y": [2]})))
    with pytest.raises(InputError, match="'nowhere': the float64 oracle has no value"):
        oracle.run({"x": np.ones(2)}, ["nowhere"])


def test_a_node_that_fails_is_named() -> None:
    """Shapes that do not fit lead to one line with the node's name and operator."""
    proto = model(
        [helper.make_node("Add", ["x", "c"], ["y"], name="sum")], {"x": ["N"]}, {"y": ["N"]}, {"c": np.ones(3, "f")}
    )
    with pytest.raises(InputError, match=r"node 'sum' \(Add\): the float64 oracle cannot evaluate it: .*broadcast"):
        Oracle(ir.from_proto(proto)).run({"x": np.ones(2)})


def test_operators_of_other_domains_are_refused() -> None:
    """An operator without a definition has nothing to go by."""
    node = helper.make_node("Invented", ["x", "x"], ["y"], domain="com.example")
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy"]
    graph = helper.make_graph([node], "graph", port[:1], port[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    with pytest.raises(InputError, match="Invented"):
        Oracle(ir.from_proto(helper.make_model(graph, opset_imports=opsets)))


def test_random_operators_are_refused() -> None:
    """What is drawn anew in each run has no result to compare with."""
    proto = model([helper.make_node("RandomNormalLike", ["x"], ["y"], name="noise")], {"x": [2]}, {"y": [2]})
    with pytest.raises(InputError, match=r"node 'noise' \(RandomNormalLike\): a random operator"):
        Oracle(ir.from_proto(proto))


def test_old_opsets_are_refused() -> None:
    """Before opset 7 broadcasting was an attribute, which onnx's reference does not know."""
    proto = model([helper.make_node("Abs", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, opset=6)
    with pytest.raises(InputError, match="opset 6: the float64 oracle knows opset 7 and newer"):
        Oracle(ir.from_proto(proto))


def test_narrow_arithmetic_is_refused() -> None:
    """Where onnx's reference has only float32 arithmetic for an operator, the oracle says so instead of using it."""
    nodes = [
        helper.make_node("HannWindow", ["size"], ["window"], name="hann"),
        helper.make_node("Mul", ["x", "window"], ["y"]),
    ]
    proto = model(nodes, {"x": [4]}, {"y": [4]}, {"size": np.array(4)})
    with pytest.raises(InputError, match=r"node 'hann' \(HannWindow\): the float64 oracle has only float32 arithmetic"):
        Oracle(ir.from_proto(proto)).run({"x": np.ones(4)})


def test_dropout_does_nothing_unless_told_to_train() -> None:
    """Dropout of inference is the identity with a mask of ones; the input that turns training on is refused."""
    nodes = [helper.make_node("Dropout", ["x", "ratio", "train"], ["y", "mask"], name="drop")]
    off = model(nodes, {"x": [3]}, {"y": [3]}, {"ratio": np.array(0.5, np.float32), "train": np.array(False)})
    result = Oracle(ir.from_proto(off)).run({"x": single(1, 2, 3)}, ["y", "mask"])
    assert (result["y"].tolist(), result["mask"].tolist()) == ([1, 2, 3], [True] * 3)
    on = model(nodes, {"x": [3]}, {"y": [3]}, {"ratio": np.array(0.5, np.float32), "train": np.array(True)})
    with pytest.raises(InputError, match=r"node 'drop' \(Dropout\): Dropout is in training mode"):
        Oracle(ir.from_proto(on)).run({"x": single(1, 2, 3)})


def test_integers_stay_integers() -> None:
    """Shape arithmetic is exact and keeps its type; only floating point becomes double."""
    nodes = [helper.make_node("Shape", ["x"], ["dims"]), helper.make_node("Abs", ["x"], ["y"])]
    result = Oracle(ir.from_proto(model(nodes, {"x": ["N", 3]}, {"y": ["N", 3]}))).run(
        {"x": np.ones((2, 3), np.float32)}, ["dims", "y"]
    )
    assert (result["dims"].dtype, result["y"].dtype) == (np.int64, np.float64)
    assert result["dims"].tolist() == [2, 3]
