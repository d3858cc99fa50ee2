"""Tests of ``bnfold.graph.computed_weights``: what only weights go into is computed once."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import parser
from torch import nn

from bnfold.export import transform
from bnfold.graph.capture import capture
from bnfold.graph.computed_weights import store_computed_weights
from bnfold.verify.oracle import Oracle

NORM = "n = ReduceL2<axes: ints = [1]>(v) u = Div(v, n) w = Mul(u, g) y = MatMul(x, w)"


def parse(body: str, outputs: str = "float[N, 2] y") -> ir.Model:
    """Return a model with the weight v (3, 2) and a factor g."""
    weights = "float[3, 2] v = {1, 2, 3, -4, 0.5, 6}, float g = {1.5}"
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => ({outputs}) <{weights}> {{ {body} }}'
    return ir.from_proto(parser.parse_model(text))


def test_a_normalized_weight_is_stored() -> None:
    """Only what the rest of the graph reads: nothing on the way there stays."""
    model, x = parse(NORM), np.random.default_rng(0).normal(size=(4, 3))
    store_computed_weights(model)
    assert [node.op_type for node in model.graph] == ["MatMul"]
    assert len(model.graph.initializers) == 1
    (expected,), (found,) = (Oracle(each).run({"x": x}).values() for each in (parse(NORM), model))
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=1e-6)  # the weight's one rounding to float32


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("n = ReduceL2<axes: ints = [1]>(x) y = Div(x, n)", "float[N, 2] y"),
        ("y = Exp(v)", "float[3, 2] y"),
    ],
)
def test_what_depends_on_an_input_or_is_an_output_stays(body: str, outputs: str) -> None:
    """The one is not known, the other keeps its node."""
    model = parse(body, outputs)
    before = [node.op_type for node in model.graph]
    store_computed_weights(model)
    assert [node.op_type for node in model.graph] == before


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_normalization_behind_a_hooked_weight_norm_folds() -> None:
    """The older weight norm recomputes its weight in a hook, which a graph has as operators."""
    module = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.ReLU()).eval()  # pyright: ignore[reportDeprecated]
    model = capture(module, (torch.randn(2, 3, 6, 6),), input_names=["x"])
    transform(model)
    assert [node.op_type for node in model.graph] == ["Conv", "Relu"]
