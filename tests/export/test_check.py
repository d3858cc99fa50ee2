"""Tests of ``bnfold.export.check``: what onnx objects to is one line, and the model stays as it is."""

import onnx_ir as ir
import pytest
from onnx import parser

from bnfold.errors import InputError
from bnfold.export.check import check, objection


def model(body: str) -> ir.Model:
    """Return a graph."""
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[N, 3] y) {{ {body} }}'
    return ir.from_proto(parser.parse_model(text))


def test_a_valid_model_passes_unchanged() -> None:
    """No shapes appear in it."""
    valid = model("a = Relu(x) y = Neg(a)")
    before = ir.to_proto(valid).SerializeToString()
    check(valid, what="model")
    assert ir.to_proto(valid).SerializeToString() == before


@pytest.mark.parametrize(
    ("body", "strict"),
    [("y = Relu<no: int = 1>(x)", False), ("y = ReduceSum(x)", True), ("y = Cast<to: int = 7>(x)", True)],
)
def test_the_objection_is_one_line(body: str, strict: bool) -> None:
    """Schemas are always checked, types and shapes by strict inference only."""
    invalid = model(body)
    assert (objection(invalid, strict=False) is None) is strict
    with pytest.raises(InputError, match=r"^model: ") as caught:
        check(invalid, what="model")
    assert "\n" not in str(caught.value)
