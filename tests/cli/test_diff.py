import json
from pathlib import Path

import pytest

from tests.cli.models import write_inputs, write_model
from tests.cli.running import Run


@pytest.fixture(autouse=True)
def report(bnfold: Run) -> None:
    """A model compared with its fold, the report in ``old.json``."""
    write_model(Path("a.onnx"))
    write_inputs(Path("x.npz"))
    assert bnfold("fold", "a.onnx", "-o", "b.onnx").code == 0
    assert bnfold("verify", "a.onnx", "b.onnx", "--data", "npz:x.npz", "--report", "old.json").code == 0


def planted(factor: float, **environment: str) -> None:
    """Write ``new.json``: the errors of the last rung multiplied, other versions."""
    report = json.loads(Path("old.json").read_text())
    report["environment"] |= environment
    for rung in report["outputs"][0]["ladder"]:
        if rung["name"] == "runtime":
            rung["error"] = {norm: factor * error for norm, error in rung["error"].items()}
    Path("new.json").write_text(json.dumps(report))


def test_the_same_again_is_not_worse(bnfold: Run) -> None:
    """Exit code 0, and what changed is told."""
    planted(1.0, numpy="9.9")
    outcome = bnfold("diff", "old.json", "new.json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].startswith(
        "Not worse beyond noise (a factor of 5.66); the verdict was equivalent"
    )
    assert "9.9" in outcome.out


def test_an_error_that_grew_is_worse(bnfold: Run) -> None:
    """Exit code 1, with the rung in words; a larger noise lets it pass."""
    planted(50.0)
    outcome = bnfold("diff", "old.json", "new.json")
    assert outcome.code == 1
    assert "WORSE" in outcome.out
    assert "output y, on the runtime: the error went from" in outcome.out.replace("\n", " ")
    assert bnfold("diff", "old.json", "new.json", "--noise", "60").code == 0


def test_json_is_one_object_and_files_hold_the_same(bnfold: Run) -> None:
    """``--json`` and the reports, as JSON and as Markdown."""
    planted(50.0)
    outcome = bnfold("diff", "old.json", "new.json", "--json", "--report", "d.json", "--report", "d.md")
    document = json.loads(outcome.out)
    assert (outcome.code, document["exit_code"], document["schema"]) == (1, 1, "bnfold.difference/1")
    assert json.loads(Path("d.json").read_text()) == document
    assert Path("d.md").read_text().startswith("## ❌ bnfold diff: worse")


def test_a_report_is_never_overwritten_by_its_comparison(bnfold: Run) -> None:
    """Not with ``--force`` either, and nothing is written."""
    before = Path("old.json").read_text()
    outcome = bnfold("diff", "old.json", "old.json", "--report", "old.json", "--force")
    assert (outcome.code, Path("old.json").read_text()) == (2, before)
