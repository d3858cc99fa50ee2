"""Tests of ``bnfold.graph.infer_shapes``: every value whose rank is known, and the model untouched."""

import onnx_ir as ir
from onnx import parser

from bnfold.graph import infer_shapes


def model() -> ir.Model:
    """Return a small graph without value infos."""
    text = """<ir_version: 8, opset_import: ["": 17, "custom": 1]>
        g (float[N, 3, 8, 10] x, float[5, 3, 3, 3] w, float[?, 2] free) => (float[] y) {
            a = Conv(x, w) b = GlobalAveragePool(a) c = Flatten(b) d = custom.Thing(c, free) y = ReduceSum(d)
        }"""
    return ir.from_proto(parser.parse_model(text))


def test_extents_symbols_and_what_is_not_known() -> None:
    """Numbers, names of symbolic extents, None for an unknown extent; nothing at all for an unknown rank."""
    shapes = infer_shapes(model())
    assert shapes["x"] == ("N", 3, 8, 10)
    assert shapes["a"] == ("N", 5, 6, 8)
    assert shapes["b"] == ("N", 5, 1, 1)
    assert shapes["c"] == ("N", 5)
    assert shapes["free"] == (None, 2)
    assert "d" not in shapes


def test_the_model_does_not_change() -> None:
    """Inference runs on a clone: no value info appears."""
    a_model = model()
    before = ir.to_proto(a_model).SerializeToString()
    infer_shapes(a_model)
    assert ir.to_proto(a_model).SerializeToString() == before
