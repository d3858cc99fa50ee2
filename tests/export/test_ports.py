"""Tests of ``bnfold.export.ports``: names and extents as the caller wants them, where the graph can follow."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.export.ports import extents_for_samples, parse_shape, rename_ports, set_shapes
from bnfold.verify.oracle import Oracle
from tests.folding.builder import Builder


def network(*target: int, pooled: bool = True) -> ir.Model:
    """Return Conv, pooling, a Reshape to ``target`` and a Gemm, of a single image of fixed extents."""
    b = Builder()
    x = b.conv(b.input(1, 3, 6, 5), 3, 4, 3, 3, pads=[1] * 4)
    x = b("GlobalAveragePool", x) if pooled else x
    x = b("Reshape", x, b.integers(*target))
    return b.model(b("Gemm", x, b.normal(4 if pooled else 120, 2)))


def shape(value: ir.Value) -> str:
    """Return a declared shape."""
    return str(value.shape)


def test_names() -> None:
    """Input and output go by the new names, also when two swap theirs."""
    model = network(-1, 4)
    old = model.graph.outputs[0].name or ""
    x = np.random.default_rng(0).normal(size=(1, 3, 6, 5))
    expected = Oracle(model).run({"x": x})[old]
    rename_ports(model, {"x": old, old: "x"})
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_array_equal(Oracle(model).run({old: x})["x"], expected)


@pytest.mark.parametrize(
    ("names", "words"), [({"y": "z"}, "no such"), ({"x": "weight_1"}, "taken"), ({"x": ""}, "empty")]
)
def test_names_that_cannot_be(names: dict[str, str], words: str) -> None:
    """No such port, a name that another value has, and none."""
    with pytest.raises(InputError, match=words):
        rename_ports(network(-1, 4), names)


def test_extents_become_free() -> None:
    """A graph that holds no extent takes any batch and any size; what inference cannot follow has no name."""
    model = network(-1, 4)
    set_shapes(model, {"x": ("batch", 3, "h", "w")})
    assert (shape(model.graph.inputs[0]), shape(model.graph.outputs[0])) == ("[batch,3,h,w]", "[None,2]")
    assert Oracle(model).run({"x": np.ones((5, 3, 9, 4))}).popitem()[1].shape == (5, 2)


@pytest.mark.parametrize("target", [(1, 4), (1, -1)])
def test_a_batch_stored_in_a_reshape_becomes_free(target: tuple[int, ...]) -> None:
    """The Reshape copies the batch from its input; at the old extents nothing changes."""
    model = network(*target)
    expected = Oracle(model).run({"x": np.ones((1, 3, 6, 5))}).popitem()[1]
    set_shapes(model, {"x": ("batch", 3, 6, 5)})
    found = Oracle(model).run({"x": np.ones((3, 3, 6, 5))}).popitem()[1]
    np.testing.assert_allclose(found, np.repeat(expected, 3, axis=0), rtol=1e-12)


def test_a_batch_that_a_caller_may_store_is_not_freed() -> None:
    """The target is an input with a default: what the caller gives has to count."""
    model = network(1, 4)
    (target,) = [value for value in model.graph.initializers.values() if value.dtype is ir.DataType.INT64]
    model.graph.inputs.append(target)
    with pytest.raises(InputError, match="the graph cannot take"):
        set_shapes(model, {"x": ("batch", 3, 6, 5)})
    assert [value for node in model.graph if node.op_type == "Reshape" for value in node.inputs][1] is target


def test_outputs_say_what_varies() -> None:
    """Where inference can follow an extent, the output has its name."""
    b = Builder()
    model = b.model(b("Relu", b.input(1, 3, 6, 5)))
    set_shapes(model, {"x": ("batch", 3, "h", 5)})
    assert shape(model.graph.outputs[0]) == "[batch,3,h,5]"


def test_extents_become_fixed() -> None:
    """Static on request."""
    model = network(-1, 4)
    set_shapes(model, {"x": ("batch", 3, "h", "w")})
    set_shapes(model, {"x": (2, 3, 8, 8)})
    assert (shape(model.graph.inputs[0]), shape(model.graph.outputs[0])) == ("[2,3,8,8]", "[2,2]")


def test_a_graph_that_holds_an_extent_is_refused() -> None:
    """Whatever the declaration says, the graph is tried: here a larger map becomes more samples."""
    with pytest.raises(InputError, match=r"^shape: the graph cannot take x \("):
        set_shapes(network(-1, 120, pooled=False), {"x": (1, 3, "h", "w")})


@pytest.mark.parametrize(("text", "words"), [("x=1,3,6", "expected 4 extents, found 3"), ("y=1", "no such input")])
def test_shapes_that_do_not_fit(text: str, words: str) -> None:
    """Another rank, another input."""
    with pytest.raises(InputError, match=words):
        set_shapes(network(-1, 4), dict([parse_shape(text)]))


@pytest.mark.parametrize("text", ["x", "=1", "x=1,-3", "x=1,0", "x=a b", "x="])
def test_malformed_shapes(text: str) -> None:
    """The message shows the form."""
    with pytest.raises(InputError, match=r"expected NAME=EXTENT"):
        parse_shape(text)


def test_samples_take_the_old_extents_where_they_vary() -> None:
    """But for the batch, which is free."""
    assert extents_for_samples((1, 3, 6, 5), ("batch", 3, "h", 8)) == ("batch", 3, 6, 8)
