"""The public face of the engine."""

import json

from bnfold import folding
from bnfold.folding import Reason, count_nodes, fold, inspect
from tests.folding.builder import Builder


def test_public_names() -> None:
    """What the package offers; a new name is a decision."""
    assert set(folding.__all__) == {
        "COSTS",
        "Change",
        "Counts",
        "FoldReport",
        "Objective",
        "Outcome",
        "Plan",
        "Reason",
        "apply_plan",
        "count_nodes",
        "fold",
        "inspect",
        "make_plan",
    }


def two_layers() -> Builder:
    """Return Conv → BN → Relu → BN → padded Conv, of which one normalization folds for nothing."""
    b = Builder()
    x = b("Relu", b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 1, 1), 4, name="first"))
    b.conv(b.batch_norm(x, 4, name="second"), 4, 2, 3, 3, pads=[1, 1, 1, 1])
    return b


def test_counts() -> None:
    """Nodes that run, normalizations, and passes over an activation."""
    b = two_layers()
    counts = count_nodes(b.model(b.last_outputs()[0]))
    assert (counts.nodes, counts.batch_norms, counts.elementwise) == (5, 2, 3)


def test_nodes_that_prepare_constants_do_not_count() -> None:
    """A Sqrt of a constant runs once, if at all."""
    b = Builder()
    y = b("Mul", b("Relu", b.input("N", 3)), b("Sqrt", b.positive(3)))
    counts = count_nodes(b.model(y))
    assert (counts.nodes, counts.elementwise) == (2, 2)


def test_inspect_tells_what_fold_does() -> None:
    """The same outcomes, one line for each normalization in graph order."""
    b = two_layers()
    model = b.model(b.last_outputs()[0])
    foretold = inspect(model)
    assert foretold == fold(model).batch_norms
    assert [(outcome.name, outcome.removed, outcome.reason) for outcome in foretold] == [
        ("first", True, None),
        ("second", False, Reason.SLOWER),
    ]


def test_the_report_as_data() -> None:
    """A report turns into JSON with its schema, the counts and one entry for each normalization."""
    b = two_layers()
    report = fold(b.model(b.last_outputs()[0]))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["schema"].startswith("bnfold.fold/")
    assert (data["removed"], data["kept"]) == (1, 1)
    assert [entry["name"] for entry in data["batch_norms"]] == ["first", "second"]
    assert data["batch_norms"][1]["reason"] == "slower"
    assert data["nodes"] == {"before": 5, "after": 4}


def test_figures_of_the_report() -> None:
    """Bytes, passes and the largest scale, of one Conv whose BN multiplies channels by 4 and 1/2."""
    b = Builder()
    weight = b.stored([[[[1.0]]], [[[1.0]]]])
    x = b("Conv", b.input("N", 1, 3, 3), weight, b.normal(2))
    y = b.batch_norm(x, 2, gamma=[4.0, 0.5], variance=[0.75, 0.75])
    report = fold(b.model(b("Sigmoid", y)))
    assert (report.elementwise.before, report.elementwise.after) == (2, 1)
    assert (report.bytes.before, report.bytes.after) == (12 * 8, 4 * 8)
    assert report.largest_scale == 4.0
    assert (report.weight_range.before, report.weight_range.after) == (1.0, 8.0)
