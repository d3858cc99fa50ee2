"""Tests of ``bnfold.graph.concats``: one Concat for several, where nothing else reads what is inside."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser
from onnx_ir.passes import common as passes

from bnfold.graph.concats import join_concats
from bnfold.verify.oracle import Oracle


def parse(body: str, outputs: str = "float[N, M] y") -> ir.Model:
    """Return a model of three matrices."""
    inputs = "float[N, 2] a, float[N, 3] b, float[N, 4] c"
    text = f'<ir_version: 8, opset_import: ["": 17]> g ({inputs}) => ({outputs}) {{ {body} }}'
    return ir.from_proto(parser.parse_model(text))


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("p = Concat<axis: int = 1>(a, b) y = Concat<axis: int = -1>(p, c)", 3),
        ("p = Concat<axis: int = 1>(a, b) q = Concat<axis: int = 1>(c, p) y = Concat<axis: int = 1>(q, a)", 4),
        ("p = Concat<axis: int = 1>(a, b) q = Concat<axis: int = 1>(c, a) y = Concat<axis: int = 1>(q, b, p)", 5),
    ],
)
def test_concats_in_a_row_become_one(body: str, count: int) -> None:
    """Operands stay in order."""
    model, before = parse(body), parse(body)
    passes.ShapeInferencePass()(model)
    join_concats(model)
    passes.RemoveUnusedNodesPass()(model)
    assert [len(node.inputs) for node in model.graph] == [count]
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(5, width)) for name, width in (("a", 2), ("b", 3), ("c", 4))}
    np.testing.assert_array_equal(Oracle(model).run(x)["y"], Oracle(before).run(x)["y"])


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("p = Concat<axis: int = 1>(a, a) y = Concat<axis: int = 0>(p, c)", "float[N, M] y"),
        ("p = Concat<axis: int = 1>(a, b) y = Concat<axis: int = 1>(p, c)", "float[N, M] y, float[N, K] p"),
        ("p = Concat<axis: int = 1>(a, b) y = Concat<axis: int = 1>(p, p)", "float[N, M] y"),
    ],
)
def test_what_is_read_elsewhere_or_along_another_axis_stays(body: str, outputs: str) -> None:
    """A copy of its own is needed there."""
    model = parse(body, outputs)
    passes.ShapeInferencePass(strict_mode=False)(model)
    join_concats(model)
    assert [len(node.inputs) for node in model.graph] == [2, 2]
