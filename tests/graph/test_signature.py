"""Tests of ``bnfold.graph.signature``: what passes do to inputs and outputs is put back, or noticed."""

import onnx_ir as ir
import pytest
from onnx import parser
from onnx_ir.passes import common as passes

from bnfold.graph.signature import kept_signature


def model() -> ir.Model:
    """Return a graph whose output is an Identity of its input, and declared more narrowly."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[1, 3] y) { y = Identity(x) }'
    return ir.from_proto(parser.parse_model(text))


def test_declarations_are_put_back() -> None:
    """Symbols, shapes and types are as before, whatever a pass made of them."""
    graph = model().graph
    x, y = graph.inputs[0], graph.outputs[0]
    edited = ir.Model(graph, ir_version=8)
    with kept_signature(edited):
        x.shape, y.shape, y.type = ir.Shape([1, 3]), None, ir.TensorType(ir.DataType.DOUBLE)
    assert x.shape == ir.Shape(["N", 3])
    assert y.shape == ir.Shape([1, 3])
    assert y.dtype == ir.DataType.FLOAT


def test_a_lost_output_name_is_noticed() -> None:
    """onnx-ir's identity elimination renames one output as another: that must not pass."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 3] x) => (float[N, 3] y, float[N, 3] z) { y = Relu(x) z = Identity(y) }"""
    edited = ir.from_proto(parser.parse_model(text))
    with pytest.raises(AssertionError, match=r"\['y', 'z'\] into \['z', 'z'\]"), kept_signature(edited):
        passes.IdentityEliminationPass()(edited)
