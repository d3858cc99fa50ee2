"""Tests of ``bnfold.graph.extents``: extents that inference loses get the names of the inputs' back, and no others."""

import onnx_ir as ir
import pytest
from onnx import parser
from onnx_ir.passes import common as passes

from bnfold.graph.extents import name_extents
from bnfold.graph.shapes import dims_of


def dims(body: str, *, inputs: str = "float[N, 8, 4, 4] x") -> dict[str, tuple[int | str | None, ...] | None]:
    """Return the extents of all results, inferred and named."""
    text = f'<ir_version: 8, opset_import: ["": 17]> g ({inputs}) => (float y) {{ {body} }}'
    model = ir.from_proto(parser.parse_model(text))
    model.graph.outputs[0].shape = None
    passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    before = {value.name: value.shape for node in model.graph for value in node.outputs}
    name_extents(model)
    after = {value.name: value.shape for node in model.graph for value in node.outputs}
    assert before.keys() == after.keys()
    return {str(name): None if shape is None else dims_of(shape) for name, shape in after.items()}


RESIZE = "s = Constant<value_floats: floats = [1.0, 1.0, 2.0, 2.0]>() r = Resize(x, , s)"
FLATTEN = "t = Constant<value_ints: ints = [-1, 32]>() f = Reshape(x, t)"


@pytest.mark.parametrize(
    ("body", "value", "expected"),
    [
        pytest.param(f"{RESIZE} y = Relu(r)", "y", ("N", 8, 8, 8), id="behind a Resize by scales"),
        pytest.param(f"{FLATTEN} y = Relu(f)", "y", ("4*N", 32), id="behind a Reshape that joins the batch"),
        pytest.param(
            f"{FLATTEN} u = Constant<value_ints: ints = [-1, 8, 4, 4]>() y = Reshape(f, u)", "y", ("N", 8, 4, 4),
            id="behind a Reshape and back",
        ),
    ],
)  # fmt: skip
def test_what_is_the_batch_again_is_called_so(body: str, value: str, expected: tuple[int | str, ...]) -> None:
    """Where plain inference makes up a name, or knows none."""
    assert dims(body)[value] == expected


def test_what_a_slice_may_cut_is_not_taken_for_a_number() -> None:
    """The first five of N are fewer where N is less, and no multiple of N where it is more."""
    cut = dims("a = Constant<value_ints: ints = [0]>() b = Constant<value_ints: ints = [5]>() y = Slice(x, a, b, a)")
    assert cut["y"] is not None
    assert not isinstance(cut["y"][0], int)
    assert "N" not in str(cut["y"][0])


def test_two_symbols_are_told_apart() -> None:
    """Each prime is one symbol's."""
    found = dims(
        "s = Constant<value_floats: floats = [1.0, 1.0, 1.0, 1.0]>() r = Resize(x, , s) "
        "y = Transpose<perm: ints = [3, 1, 2, 0]>(r)",
        inputs="float[N, 8, H, W] x",
    )
    assert found["y"] == ("W", 8, "H", "N")


def test_a_product_of_two_symbols_is_called_after_neither() -> None:
    """N·H is k times N only for one H."""
    found = dims("t = Constant<value_ints: ints = [-1, 8]>() y = Reshape(x, t)", inputs="float[N, H, 8] x")
    assert found["y"] is not None
    assert found["y"][1] == 8
    assert "*" not in str(found["y"][0])


def test_a_graph_without_free_extents_stays_as_it_is() -> None:
    """There is nothing to name extents after."""
    assert dims("y = Relu(x)", inputs="float[2, 3] x")["y"] == (2, 3)


def test_what_is_inferred_in_another_rank_stays_as_it_is() -> None:
    """A declaration that does not fit is for the checker to refuse."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[?] y) { y = Relu(x) }'
    model = ir.from_proto(parser.parse_model(text))
    name_extents(model)
    assert model.graph.outputs[0].shape == ir.Shape([None])
