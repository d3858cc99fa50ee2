"""Tests of ``bnfold.graph.simplify`` and its parts: less graph, the same values."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from bnfold.graph.dropouts import remove_old_dropouts
from bnfold.graph.exporter_metadata import remove_exporter_metadata
from bnfold.graph.reshapes import make_reshapes_static, skip_reshapes
from bnfold.graph.sequences import has_sequences
from bnfold.graph.simplify import simplify
from bnfold.verify.oracle import Oracle


def parse(body: str, *, opset: int = 17, inputs: str = "float[N, 3, 4] x", outputs: str = "float[N, M] y") -> ir.Model:
    """Return a model with the given nodes."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    return ir.from_proto(parser.parse_model(text))


def operators(model: ir.Model) -> list[str]:
    """Return the operators in order."""
    return [node.op_type for node in model.graph]


FLATTEN = """s = Shape(x) zero = Constant<value_ints: ints = [0]>() n = Gather<axis: int = 0>(s, zero)
    rest = Constant<value_ints: ints = [12]>() t = Concat<axis: int = 0>(n, rest) y = Reshape(x, t)"""


def test_shape_arithmetic_around_a_reshape_becomes_one_constant() -> None:
    """The batch is copied from the input: the result is right for any batch, and for an empty one."""
    model = parse(FLATTEN, outputs="float[N, 12] y")
    simplify(model)
    assert operators(model) == ["Reshape"]
    target = model.graph[0].inputs[1]
    assert target is not None
    assert target.const_value is not None
    assert target.const_value.numpy().tolist() == [0, 12]
    for batch in (1, 5):
        x = np.random.default_rng(0).normal(size=(batch, 3, 4))
        np.testing.assert_array_equal(Oracle(model).run({"x": x})["y"], x.reshape(batch, 12))


@pytest.mark.parametrize(
    ("inputs", "outputs", "target"),
    [
        ("float[N, 3, 4] x, int64[2] t", "float[N, 12] y", [0, 12]),
        ("float[N, 3, 4] x, int64[2] t", "float[M, 6] y", [-1, 6]),
        ("float[3, N, 4] x, int64[2] t", "float[N, 12] y", [-1, 12]),
        ("float[3, N, K] x, int64[3] t", "float[6, N, M] y", [6, 0, -1]),
        ("float[N, 3, 4] x, int64[2] t", "float[M, K] y", None),
        ("float[N, 0, 4] x, int64[2] t", "float[N, 0] y", None),
        ("float[N, 3, 4] x, int64[2] t", "float[?, ?] y", None),
    ],
)
def test_a_reshapes_target_is_made_static_where_one_extent_is_left(
    inputs: str, outputs: str, target: list[int] | None
) -> None:
    """Known extents are written, the same symbol at the same axis is copied, one other is inferred."""
    model = parse("y = Reshape(x, t)", inputs=inputs, outputs=outputs)
    make_reshapes_static(model)
    shape = model.graph[0].inputs[1]
    assert shape is not None
    found = None if shape.const_value is None else shape.const_value.numpy().tolist()
    assert found == target


@pytest.mark.parametrize(("numbers", "kept"), [("{-1, 12}", False), ("{0, 12}", True)])
def test_allowzero_goes_where_no_zero_is_meant(numbers: str, kept: bool) -> None:
    """Older operator sets do not know the attribute; a literal 0 needs it."""
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[N, 3, 4] x) => (float[A, B] y)
        <int64[2] t = {numbers}> {{ y = Reshape<allowzero: int = 1>(x, t) }}"""
    model = ir.from_proto(parser.parse_model(text))
    make_reshapes_static(model)
    assert ("allowzero" in model.graph[0].attributes) is kept


@pytest.mark.parametrize("opset", [7, 11, 12, 17])
def test_inference_dropouts_and_identities_are_skipped(opset: int) -> None:
    """Of every age, also one that is the output."""
    model = parse("a = Identity(x) b = Dropout(a) c = Relu(b) y = Dropout(c)", opset=opset, outputs="float[N, 3, 4] y")
    simplify(model)
    assert operators(model) == ["Relu"]
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_an_old_dropout_whose_mask_is_read_stays() -> None:
    """Its mask has no other node to come from."""
    model = parse("y, mask = Dropout(x)", opset=11, outputs="float[N, 3, 4] y, bool[N, 3, 4] mask")
    remove_old_dropouts(model)
    assert operators(model) == ["Dropout"]


def test_a_dropout_in_training_mode_stays() -> None:
    """It is no identity."""
    body = (
        """r = Constant<value: tensor = float {0.5}>() t = Constant<value: tensor = bool {1}>() y = Dropout(x, r, t)"""
    )
    model = parse(body, outputs="float[N, 3, 4] y")
    simplify(model)
    assert operators(model)[-1] == "Dropout"


def test_two_outputs_with_one_value_keep_their_names() -> None:
    """An Identity between two outputs cannot be skipped."""
    model = parse("y = Relu(x) z = Identity(y)", outputs="float[N, 3, 4] y, float[N, 3, 4] z")
    simplify(model)
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    assert operators(model) == ["Relu", "Identity"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [("y = Relu(x)", False), ("two = Constant<value_int: int = 2>() s = SplitToSequence(x, two)", True)],
)
def test_sequences_are_seen(body: str, expected: bool) -> None:
    """By the operators that make them."""
    assert has_sequences(parse(body)) is expected


def test_exporters_keys_go_and_users_keys_stay() -> None:
    """On the model, its graph, nodes and values."""
    model = parse("y = Relu(x)", outputs="float[N, 3, 4] y")
    holders = [model, model.graph, model.graph[0], model.graph.inputs[0], model.graph.outputs[0]]
    for holder in holders:
        holder.metadata_props.update({"pkg.torch.onnx.stack_trace": "/home/me", "namespace": "a", "author": "me"})
    remove_exporter_metadata(model)
    assert [dict(holder.metadata_props) for holder in holders] == [{"author": "me"}] * 5


@pytest.mark.parametrize(
    ("inputs", "outputs", "skipped"),
    [
        ("float[N, 3, 4] x, int64[3] t", "float[N, 3, 4] y", True),
        ("float[N, 3, 4] x, int64[3] t", "float[M, 3, 4] y", True),
        ("float[?, 3, 4] x, int64[3] t", "float[?, 3, 4] y", True),
        ("float[N, M, 4] x, int64[3] t", "float[N, K, 4] y", True),
        ("float[N, M, 4] x, int64[3] t", "float[M, N, 4] y", False),
        ("float[?, ?, 4] x, int64[3] t", "float[?, ?, 4] y", False),
        ("float[N, 0, 4] x, int64[3] t", "float[M, 0, 4] y", False),
        ("float[N, 3, 4] x, int64[2] t", "float[N, 12] y", False),
        ("float[N, 3, 4] x, int64[3] t", "float[N, 4, 3] y", False),
    ],
)
def test_a_reshape_to_the_same_extents_is_skipped(inputs: str, outputs: str, *, skipped: bool) -> None:
    """All of them are known by a number or by one name, or all but one, which the number of elements settles."""
    model = parse("y = Reshape<allowzero: int = 1>(x, t)", inputs=inputs, outputs=outputs)
    skip_reshapes(model)
    assert operators(model) == ["Identity" if skipped else "Reshape"]
    assert len(model.graph[0].attributes) == (0 if skipped else 1)
