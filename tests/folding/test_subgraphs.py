"""Bodies of If, Loop and Scan, which read values of the graph around them, and model-local functions."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, parser

from bnfold.folding import Objective, Reason, fold, inspect
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
    assert outcome.reason is Reason.SCALE_FIXED
    assert "of the graph around" in (outcome.witness or "")


def normalized(b: Builder, x: str, channels: tuple[int, int], name: str, **attributes: Any) -> list[onnx.NodeProto]:
    """Return Conv → BN for a body; the weights are of the graph around it."""
    weight, parameters = b.normal(channels[1], channels[0], 3, 3), [b.positive(channels[1]) for _ in range(4)]
    return [
        helper.make_node("Conv", [x, weight], [f"{name}_raw"], name=f"{name}_conv", **attributes),
        helper.make_node("BatchNormalization", [f"{name}_raw", *parameters], [name], name=f"{name}_bn"),
    ]


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
def test_bodies_fold_by_themselves(condition: bool, depth: int) -> None:
    """Conv → BN inside a branch is one Conv, in branches of branches too; the reports stand in graph order."""
    b = Builder()
    x, choice = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 3, 1, 1), 3), b.input(name="condition", dtype=np.bool_)
    relu = helper.make_node("Relu", ["one"], ["rectified"])
    first, second = (
        body("first", *normalized(b, x, (3, 2), "one"), relu),
        body("second", *normalized(b, x, (3, 2), "two")),
    )
    if depth == 2:
        inner = helper.make_node("If", [choice], ["chosen"], then_branch=first, else_branch=second)
        first, second = body("outer", inner), body("other", *normalized(b, x, (3, 2), "three"))
    folded = fold_checked(b.model(b("If", choice, then_branch=first, else_branch=second)), feeds(condition))
    assert folded.count("BatchNormalization") == 0
    names = {outcome.name for outcome in folded.report.batch_norms}
    assert {"one_bn", "two_bn"} < names
    assert ("three_bn" in names) == (depth == 2)


def test_a_weight_that_two_branches_share() -> None:
    """Each branch gets its own copy, which the report counts; the stored one stays for who reads it as it is."""
    b = Builder()
    x, weight = b.input("N", 3, 5, 4), b.normal(2, 3, 3, 3)
    branches: dict[str, Any] = {}
    for branch in ("then_branch", "else_branch"):
        parameters = [b.positive(2) for _ in range(4)]
        conv = helper.make_node("Conv", [x, weight], [f"{branch}_raw"])
        bn = helper.make_node("BatchNormalization", [conv.output[0], *parameters], [branch], name=f"{branch}_bn")
        branches[branch] = body(branch, conv, bn)
    z = b("If", b.input(name="condition", dtype=np.bool_), **branches)
    model = b.model(z, b("Conv", x, weight))
    for condition in (True, False):
        folded = fold_checked(model, feeds(condition))
        assert folded.count("BatchNormalization") == 0
        assert folded.report.duplicated_bytes == 2 * 2 * 3 * 3 * 3 * 8


@pytest.mark.parametrize("objective", Objective)
def test_forms_at_a_price_inside_a_body(objective: Objective) -> None:
    """Conv → Sigmoid → BN → padded Conv in a branch: with a border map, which is in the branch, no BN is left."""
    b = Builder()
    x = b.conv(b.input(2, 3, 5, 4), 3, 3, 1, 1)
    first, second = normalized(b, x, (3, 4), "one", pads=[1] * 4), normalized(b, "hidden", (4, 2), "two", pads=[1] * 4)
    parameters = [b.positive(4) for _ in range(4)]
    between = [
        helper.make_node("Gelu", ["one"], ["gelu"])
        if b.opset >= 20
        else helper.make_node("Sigmoid", ["one"], ["gelu"]),
        helper.make_node("BatchNormalization", ["gelu", *parameters], ["hidden"], name="hidden_bn"),
    ]
    branches: dict[str, Any] = {
        "then_branch": body("then", *first, *between, *second),
        "else_branch": body("else", *normalized(b, x, (3, 2), "three", pads=[1] * 4)),
    }
    z = b("If", b.input(name="condition", dtype=np.bool_), **branches)
    folded = fold_checked(b.model(z), feeds(True), objective=objective)
    assert folded.count("BatchNormalization") == (objective is Objective.LATENCY)


def test_an_identity_between_a_captured_value_and_a_body_output() -> None:
    """A BN that changes nothing goes; the value around keeps its name, and the body's output its own."""
    b = Builder()
    x = b.input("N", 3, 5, 4)
    one, zero = b.stored(np.ones(3)), b.stored(np.zeros(3))
    hidden = b("Sigmoid", x)
    parameters = [one, zero, zero, b.stored(np.full(3, 0.75))]
    inner = helper.make_node("BatchNormalization", [hidden, *parameters], ["then"], name="inner", epsilon=0.25)
    bodies: dict[str, Any] = {
        "then_branch": body("then", inner),
        "else_branch": body("else", helper.make_node("Neg", [hidden], ["else"])),
    }
    folded = fold_checked(b.model(b("If", b.input(name="condition", dtype=np.bool_), **bodies), hidden), feeds(True))
    assert folded.count("BatchNormalization") == 0


def test_a_loop_whose_state_is_of_unknown_shape() -> None:
    """The Conv tells the rank of what it reads, and takes up the BN behind it; each turn computes what it did."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (double[N,2,4,4] x, int64 count, bool go) => (double[N,2,4,4] y)
    <double[2] gamma = {1.5, 0.5}, double[2] beta = {1, -1}, double[2] mean = {0.5, 1}, double[2] variance = {1, 2},
     double[2,2,1,1] weight = {0.5, 0.25, -0.5, 1}>
    {
        y = Loop (count, go, x) <body = step (int64 i, bool c, double v) => (bool d, double w)
            { d = Identity (c) u = Conv (v, weight)
              n = BatchNormalization (u, gamma, beta, mean, variance) w = Relu (n) }>
    }
    """
    model = ir.from_proto(parser.parse_model(text))
    for number, node in enumerate(model.graph.all_nodes()):
        node.name = f"node_{number}"
    (loop,) = model.graph
    loop.attributes["body"].as_graph().inputs[2].shape = None
    inputs = {"x": np.random.default_rng(0).standard_normal((2, 2, 4, 4)), "count": np.array(3), "go": np.array(True)}
    folded = fold_checked(model, inputs)
    assert folded.count("BatchNormalization") == 0


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
