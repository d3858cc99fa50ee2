from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from bnfold.folding import Objective, fold
from bnfold.json_text import finite
from bnfold.verify.reports.folds import folds
from tests.verify.graphs import network, random_layers, right

SIGMOIDS = """<ir_version: 9, opset_import: ["": 17]>
    net (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y)
    <float[2] a = {1.0, 2.0}, float[2] b = {0.5, 0.25}, float[2] m = {0.1, 0.2}, float[2] v = {1.0, 2.0}> {
        s = Sigmoid (x)
        [stays] n = BatchNormalization (s, a, b, m, v)
        y = Sigmoid (n)
    }"""


@pytest.fixture
def original() -> ir.Model:
    """Three times Conv, BatchNormalization, Relu."""
    return ir.from_proto(network(random_layers()))


@pytest.fixture
def candidate() -> ir.Model:
    """The same, folded by hand."""
    return ir.from_proto(network(random_layers(), right))


def test_two_graphs_tell_what_is_gone(original: ir.Model, candidate: ir.Model) -> None:
    """Each normalization with its neighbours; the convolution's weights changed, the activation did not."""
    found = folds(original, candidate)
    assert found is not None
    assert found["basis"] == "graphs"
    assert [(record["name"], record["removed"]) for record in found["batch_norms"]] == [
        ("bn0", True),
        ("bn1", True),
        ("bn2", True),
    ]
    record = found["batch_norms"][0]
    roles = [(node["name"], node["op_type"], node["role"]) for node in record["before"]["nodes"]]
    assert roles == [
        ("conv0", "Conv", "changed"),
        ("bn0", "BatchNormalization", "batch-norm"),
        ("relu0", "Relu", "same"),
    ]
    assert record["before"]["edges"] == [[0, 1], [1, 2]]
    assert [node["name"] for node in record["after"]["nodes"]] == ["conv0", "relu0"]
    assert record["after"]["edges"] == [[0, 1]]


def test_the_report_of_the_fold_tells_why(original: ir.Model) -> None:
    """Its words are kept, its pictures come from the two graphs."""
    folded = original.clone()
    report = finite(fold(folded, Objective.LATENCY).to_dict())
    found = folds(original, folded, report)
    assert found is not None
    assert found["basis"] == "fold-report"
    record = found["batch_norms"][1]
    assert (record["removed"], record["into"], record["detail"]) == (True, ["weight1"], "folded into weight1")
    assert [node["name"] for node in record["before"]["nodes"]] == ["conv1", "bn1", "relu1"]


def test_without_the_original_only_the_weights_are_found(original: ir.Model) -> None:
    """As for a bundle: there is no picture of before, and after shows what reads the weights and what is next to it."""
    report = finite(fold(original, Objective.LATENCY).to_dict())
    found = folds(None, original, report)
    assert found is not None
    record = found["batch_norms"][0]
    assert record["before"] is None
    assert [(node["name"], node["role"]) for node in record["after"]["nodes"]] == [
        ("conv0", "changed"),
        ("relu0", "same"),
    ]
    assert folds(None, original) is None


def test_a_normalization_that_stays_is_drawn_as_one() -> None:
    """Nothing around it changes."""
    model = ir.from_proto(onnx.parser.parse_model(SIGMOIDS))
    folded = model.clone()
    report = finite(fold(folded, Objective.LATENCY).to_dict())
    for found in (folds(model, folded), folds(model, folded, report)):
        assert found is not None
        (record,) = found["batch_norms"]
        assert record["removed"] is False
        assert record["reason"] is not None
        assert [node["role"] for node in record["after"]["nodes"]] == ["same", "batch-norm", "same"]


def test_what_the_fold_put_in_between_is_new(original: ir.Model, tmp_path: Path) -> None:
    """A node between two known ones that the original does not have."""
    folded = ir.from_proto(network(random_layers(), right))
    relu = next(node for node in folded.graph if node.name == "relu0")
    value = relu.inputs[0]
    shift = ir.node("Neg", [value], name="inserted")
    folded.graph.insert_before(relu, shift)
    relu.replace_input_with(0, shift.outputs[0])
    found = folds(original, folded)
    assert found is not None
    drawn = found["batch_norms"][0]["after"]
    assert [(node["name"], node["role"]) for node in drawn["nodes"]][1] == ("inserted", "new")
    assert drawn["edges"] == [[0, 1], [1, 2]]
