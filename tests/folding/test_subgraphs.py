"""Bodies of If, Loop and Scan, which read values of the graph around them, and model-local functions."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, parser

from bnfold.folding import Reason, fold, inspect
from bnfold.graph import load
from tests.folding.builder import Builder, Tensor
from tests.folding.checker import check_results, fold_checked


def body(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    """Return a subgraph without inputs whose output is the last node's."""
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.DOUBLE, None)
    return helper.make_graph(list(nodes), name, [], [output])


def feeds(condition: bool) -> dict[str, Tensor]:
    """Return inputs for the graphs below."""
    return {"x": np.random.default_rng(0).standard_normal((2, 3, 5, 4)), "condition": np.array(condition)}


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
def test_values_that_a_branch_captures(condition: bool, depth: int) -> None:
    """What a body reads from outside keeps its values, bodies in bodies included; the normalization says why."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)
    y = b.batch_norm(x, 6)
    choice = b.input(name="condition", dtype=np.bool_)
    raw = body("raw", helper.make_node("Identity", [x], ["raw"]))
    normal = body("normal", helper.make_node("Relu", [y], ["normal"]))
    if depth == 2:
        inner = helper.make_node("If", [choice], ["chosen"], then_branch=raw, else_branch=normal)
        raw, normal = body("outer", inner), body("other", helper.make_node("Relu", [y], ["normal_too"]))
    z = b("If", choice, then_branch=raw, else_branch=normal)
    folded = fold_checked(b.model(z), feeds(condition))
    (outcome,) = folded.report.batch_norms
    assert outcome.reason is Reason.SCALE_FIXED
    assert "If" in (outcome.witness or "")


@pytest.mark.parametrize("condition", [True, False])
def test_a_body_that_reads_only_the_normalized_value(condition: bool) -> None:
    """The normalization goes, and the body reads what takes its place."""
    b = Builder()
    y = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2), 6)
    bodies: dict[str, Any] = {
        "then_branch": body("then", helper.make_node("Relu", [y], ["then"])),
        "else_branch": body("else", helper.make_node("Neg", [y], ["else"])),
    }
    z = b("If", b.input(name="condition", dtype=np.bool_), **bodies)
    assert fold_checked(b.model(z), feeds(condition)).count("BatchNormalization") == 0


@pytest.mark.parametrize("condition", [True, False])
def test_a_weight_that_a_body_captures(condition: bool) -> None:
    """A weight of the graph that a body reads too keeps its values there."""
    b = Builder()
    weight, x = b.normal(6, 3, 2, 2), b.input("N", 3, 5, 4)
    y = b("Relu", b.batch_norm(b("Conv", x, weight), 6))
    bodies: dict[str, Any] = {
        "then_branch": body("then", helper.make_node("Conv", [x, weight], ["then"])),
        "else_branch": body("else", helper.make_node("Identity", [y], ["else"])),
    }
    z = b("If", b.input(name="condition", dtype=np.bool_), **bodies)
    folded = fold_checked(b.model(y, z), feeds(condition))
    assert folded.count("BatchNormalization") == 0
    assert folded.report.duplicated_bytes == 6 * 3 * 2 * 2 * 8


def test_a_normalization_inside_a_body() -> None:
    """It is kept, and reported like any other."""
    b = Builder()
    x = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)
    parameters = [b.positive(6) for _ in range(4)]
    inner = helper.make_node("BatchNormalization", [x, *parameters], ["then"], name="inner")
    bodies: dict[str, Any] = {
        "then_branch": body("then", inner),
        "else_branch": body("else", helper.make_node("Neg", [x], ["else"])),
    }
    z = b("If", b.input(name="condition", dtype=np.bool_), **bodies)
    folded = fold_checked(b.model(z), feeds(True))
    (outcome,) = folded.report.batch_norms
    assert outcome.name == "inner"
    assert outcome.reason is Reason.UNSUPPORTED
    assert "subgraph" in outcome.detail


def test_a_loop() -> None:
    """What a Loop carries in and out keeps its values; a normalization behind it folds into what follows."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (double[N,3] x, int64 count, bool go) => (double[N,4] y)
    <double[3] gamma = {1.5, 0.5, 2}, double[3] beta = {1, -1, 0.5}, double[3] mean = {0.5, 1, -1},
     double[3] variance = {1, 2, 0.5}, double[N,3] last, double[3,4] weight = {1,2,3,4,5,6,7,8,9,10,11,12}>
    {
        start = BatchNormalization (x, gamma, beta, mean, variance)
        last = Loop (count, go, start) <body = step (int64 i, bool c, double[N,3] v) => (bool d, double[N,3] w)
            { d = Identity (c) w = Add (v, x) }>
        normal = BatchNormalization (last, gamma, beta, mean, variance)
        y = MatMul (normal, weight)
    }
    """
    model = ir.from_proto(parser.parse_model(text))
    for number, node in enumerate(model.graph):
        node.name = f"node_{number}"
    inputs = {"x": np.random.default_rng(0).standard_normal((2, 3)), "count": np.array(3), "go": np.array(True)}
    folded = fold_checked(model, inputs)
    assert [outcome.removed for outcome in folded.report.batch_norms] == [False, True]


FUNCTION = """
<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
agraph (float[N,3,H,W] x) => (float[N,2,H,W] y)
<float[2,3,1,1] weight = {1,2,3,4,5,6}, float[2] gamma = {2, 0.5}, float[2] beta = {1, -1}, float[2] mean = {0.5, 1},
 float[2] variance = {1, 2}>
{
    hidden = Conv (x, weight)
    y = local.block (hidden, gamma, beta, mean, variance)
}
<domain: "local", opset_import: ["" : 17]>
block (x, gamma, beta, mean, variance) => (y)
{
    normal = BatchNormalization <epsilon = 0.25> (x, gamma, beta, mean, variance)
    y = Relu (normal)
}
"""


def test_functions_are_inlined_on_the_way_in(tmp_path: Path) -> None:
    """A normalization inside a model-local function folds like any other."""
    path = tmp_path / "function.onnx"
    onnx.save(parser.parse_model(FUNCTION), path)
    model = load(path)
    original = model.clone()
    report = fold(model)
    assert report.removed_count == 1
    assert [node.op_type for node in model.graph] == ["Conv", "Relu"]
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    check_results(original, model, {"x": x}, relative=4 * 2.0**-24)  # two weights a product, each rounded once


def test_functions_that_were_not_inlined_hold_their_operands() -> None:
    """A call of a function in a model made in memory is an operator without a rule."""
    b = Builder()
    y = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2), 6)
    model = b.model(b("Relu", y))
    relu = model.graph[-1]
    relu.domain = "local"
    (outcome,) = inspect(model)
    assert outcome.removed
    assert model.graph[-1].domain == "local"
