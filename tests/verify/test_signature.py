import re
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from bnfold.errors import InputError
from bnfold.verify.signature import Signature, check_inputs, check_same, reordered
from tests.verify.graphs import model

Dims = list[int | str]


def signature(
    inputs: dict[str, Dims] | None = None, outputs: dict[str, Dims] | None = None, dtype: int = TensorProto.FLOAT
) -> Signature:
    """Return the signature of a graph that adds its inputs up."""
    inputs = inputs or {"x": ["N", 3, 5]}
    outputs = outputs or {"y": ["N", 3, 5]}
    nodes = [helper.make_node("Sum", list(inputs), [name]) for name in outputs]
    return Signature.of(ir.from_proto(model(nodes, inputs, dict(outputs), dtype=dtype)))


def test_initializers_are_not_fed() -> None:
    """An initializer that is declared as an input too, as before IR version 4, is not part of the signature."""
    proto = model(
        [helper.make_node("Add", ["x", "w"], ["y"])], {"x": [2], "w": [2]}, {"y": [2]}, {"w": np.ones(2, "f")}
    )
    assert [port.name for port in Signature.of(ir.from_proto(proto)).inputs] == ["x"]


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (signature({"z": ["N", 3, 5]}), "input x float[N, 3, 5] is missing in the candidate"),
        (signature({"x": ["N", 3, 5], "z": ["N", 3, 5]}), "input z float[N, 3, 5] is only in the candidate"),
        (signature({"x": ["N", 3]}), "input x float[N, 3, 5] became x float[N, 3]"),
        (signature({"x": ["N", 4, 5]}), "input x float[N, 3, 5] became x float[N, 4, 5]"),
        (signature(dtype=TensorProto.DOUBLE), "input x float[N, 3, 5] became x double[N, 3, 5]"),
        (signature(outputs={"z": ["N", 3, 5]}), "output y float[N, 3, 5] is missing in the candidate"),
        (signature(outputs={"y": ["N", 3, 6]}), "output y float[N, 3, 5] became y float[N, 3, 6]"),
    ],
)
def test_differences_are_named(candidate: Signature, words: str) -> None:
    """Names, types, ranks and fixed extents are held to, and what differs is said of both graphs."""
    with pytest.raises(InputError, match=re.escape(words)):
        check_same(signature(), candidate)


def test_another_order_is_named() -> None:
    """Ports that are the same by name are others by position; the words hold both orders."""
    two = signature({"x": ["N", 3], "z": ["N", 3]}, {"a": ["N", 3], "b": ["N", 3]})
    assert not list(reordered(two, ["x", "z"], ["a", "b"], "the original"))
    (words,) = reordered(two, ["z", "x"], ["a", "b"], "the original")
    assert words.startswith(
        "inputs in another order: [z, x] in the original, [x, z] in the candidate: callers that go by"
    )
    kinds = [each.split()[0] for each in reordered(two, ["z", "x"], ["b", "a"], "the manifest")]
    assert kinds == ["inputs", "outputs"]


@pytest.mark.parametrize("dims", [["batch", 3, 5], [1, 3, 5], ["N", "C", "L"]])
def test_symbolic_extents_agree_with_any(dims: Dims) -> None:
    """A symbol has no meaning of its own: another name or a number in its place is no difference."""
    check_same(signature(), signature({"x": dims}))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "the graph expects x float[N, 3, 5]; found none"),
        ({"z": np.ones((2, 3, 5), "f")}, "the graph expects x float[N, 3, 5]; found z"),
        ({"x": np.ones((2, 3, 6), "f")}, "the graph expects x float[N, 3, 5], found float32[2, 3, 6]"),
        ({"x": np.ones((3, 5), "f")}, "the graph expects x float[N, 3, 5], found float32[3, 5]"),
        ({"x": np.ones((2, 3, 5))}, "the graph expects x float[N, 3, 5], found float64[2, 3, 5]"),
        ({"x": np.full((2, 3, 5), None)}, "the graph expects x float[N, 3, 5], found object[2, 3, 5]"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs: dict[str, npt.NDArray[Any]], words: str) -> None:
    """Name, type, rank and extents of each array are held to the graph."""
    with pytest.raises(InputError, match=re.escape(words)):
        check_inputs(signature(), inputs)


def test_samples_are_counted_along_the_leading_axis() -> None:
    """All inputs hold the same number of samples, whatever the graph's own batch; scalars hold none."""
    two = signature({"x": ["N", 3], "z": ["N", 3]})
    assert check_inputs(two, {"x": np.ones((7, 3), "f"), "z": np.ones((7, 3), "f")}) == 7
    with pytest.raises(InputError, match=r"same number of samples in each, found \{'x': 7, 'z': 5\}"):
        check_inputs(two, {"x": np.ones((7, 3), "f"), "z": np.ones((5, 3), "f")})
    scaled = signature({"x": ["N", 3], "scale": []})
    assert check_inputs(scaled, {"x": np.ones((7, 3), "f"), "scale": np.ones((), "f")}) == 7


def test_a_fixed_batch_divides_the_samples() -> None:
    """A graph for batches of four takes eight samples, not six."""
    fixed = signature({"x": [4, 3]})
    assert fixed.fixed_batch == 4
    assert check_inputs(fixed, {"x": np.ones((8, 3), "f")}) == 8
    with pytest.raises(InputError, match="batches of 4, 6 samples are not a multiple"):
        check_inputs(fixed, {"x": np.ones((6, 3), "f")})


def test_inputs_of_different_batches_are_refused() -> None:
    """Where leading extents differ, they do not count samples."""
    with pytest.raises(InputError, match="expected one extent of the leading axis"):
        assert signature({"x": [4, 3], "z": [2, 3]}).fixed_batch


def test_what_has_no_distance_is_refused() -> None:
    """Strings and sequences cannot be compared by numbers."""
    strings = model([helper.make_node("Identity", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, dtype=TensorProto.STRING)
    with pytest.raises(InputError, match="x: expected a tensor of numbers, found"):
        Signature.of(ir.from_proto(strings))
    proto = model([helper.make_node("Abs", ["x"], ["y"])], {"x": [2]}, {"y": [2]})
    proto.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [2]))
    with pytest.raises(InputError, match="y: expected a tensor of numbers, found Sequence"):
        Signature.of(ir.from_proto(proto))
