import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bnfold.errors import AttestationError
from bnfold.verify.reports import Kind, violations
from tests.cli.models import write_inputs, write_model
from tests.cli.running import Run

FILES = ["b.onnx", "--data", "npz:x.npz"]


@pytest.fixture(autouse=True)
def place(bnfold: Run) -> None:
    """A model, its fold with the account of it, a wrong one, and data."""
    write_model(Path("a.onnx"))
    write_model(Path("wrong.onnx"), eps=0.31)
    write_inputs(Path("x.npz"))
    assert bnfold("fold", "a.onnx", "-o", "b.onnx", "--report", "fold.json").code == 0


def test_one_run_writes_every_form(bnfold: Run) -> None:
    """Each by its suffix; the account of the fold is in the JSON and on the page."""
    reports = [word for suffix in ("json", "xml", "md", "html") for word in ("--report", f"v.{suffix}")]
    outcome = bnfold("verify", "a.onnx", *FILES, "--fold-report", "fold.json", *reports)
    assert outcome.code == 0, outcome.err
    document = json.loads(Path("v.json").read_text())
    assert list(violations(document, Kind.VERIFICATION)) == []
    (record,) = document["folds"]["batch_norms"]
    assert (record["name"], record["removed"], record["into"]) == ("bn", True, ["conv.weight"])
    assert ET.parse("v.xml").getroot().get("failures") == "0"  # noqa: S314  (our own file)
    assert Path("v.md").read_text().startswith("## ✅")
    assert "folded into conv.weight" in Path("v.html").read_text()


def test_json_on_stdout_is_a_report(bnfold: Run) -> None:
    """What ``--json`` prints can be judged again and compared."""
    outcome = bnfold("verify", "a.onnx", *FILES, "--json")
    assert list(violations(json.loads(outcome.out), Kind.VERIFICATION)) == []


def test_a_bundle_brings_its_own_account(bnfold: Run) -> None:
    """Without the original, the page still tells what became of every normalization."""
    assert bnfold("export", "a.onnx", "-o", "bundle", "--data", "npz:x.npz").code == 0
    assert bnfold("verify", "bundle", "--report", "v.html", "--report", "v.json").code == 0
    assert json.loads(Path("v.json").read_text())["folds"]["basis"] == "fold-report"
    assert "1 of 1 are folded, 0 kept." in Path("v.html").read_text()


def test_a_report_is_judged_again_without_the_models(bnfold: Run) -> None:
    """Other limits, the same figures; the exit code is the new verdict's, and nothing but the report is read."""
    assert bnfold("verify", "a.onnx", "wrong.onnx", *FILES[1:], "--report", "v.json").code == 1
    for path in ("a.onnx", "wrong.onnx", "x.npz"):
        Path(path).unlink()
    assert bnfold("verify", "--rethreshold", "v.json").code == 1
    outcome = bnfold("verify", "--rethreshold", "v.json", "--k", "0", "--floor-scale", "0", "--report", "again.html")
    assert outcome.code == 1
    assert "judged again with k = 0, floors × 0: not equivalent (was not equivalent)" in outcome.out
    assert "Judged again" in Path("again.html").read_text()


def test_a_passing_report_can_be_failed_by_stricter_limits(bnfold: Run) -> None:
    """And passes by its own."""
    assert bnfold("verify", "a.onnx", *FILES, "--report", "v.json").code == 0
    assert bnfold("verify", "--rethreshold", "v.json").code == 0
    outcome = bnfold("verify", "--rethreshold", "v.json", "--k", "0", "--floor-scale", "0", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["verdict"], document["rejudged"]["verdict_before"]) == (
        1,
        "not-equivalent",
        "equivalent",
    )
    assert list(violations(document, Kind.VERIFICATION)) == []


def test_the_account_of_the_fold_can_be_added_later(bnfold: Run) -> None:
    """With the pictures that the report holds already."""
    assert bnfold("verify", "a.onnx", *FILES, "--report", "v.json").code == 0
    before = json.loads(Path("v.json").read_text())["folds"]
    assert before["basis"] == "graphs"
    line = ["verify", "--rethreshold", "v.json", "--fold-report", "fold.json", "--report", "w.json"]
    assert bnfold(*line).code == 0
    after = json.loads(Path("w.json").read_text())["folds"]
    assert after["basis"] == "fold-report"
    assert after["batch_norms"][0]["before"] == before["batch_norms"][0]["before"]
    assert after["batch_norms"][0]["detail"] == "folded into conv.weight"


def test_a_provider_that_cannot_be_loaded_is_reported(bnfold: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3 and one line, as without reports; and the reports that CI shows say why."""

    def nothing(*_: object, **__: object) -> None:
        raise AttestationError("--provider cuda: nothing ran there: no NVIDIA driver.")

    monkeypatch.setattr("bnfold.verify.verify", nothing)
    reports = ["--report", "v.json", "--report", "v.xml", "--report", "v.md", "--report", "v.html"]
    outcome = bnfold("verify", "a.onnx", *FILES, "--provider", "cuda", *reports)
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == "error: --provider cuda: nothing ran there: no NVIDIA driver.\n"
    document = json.loads(Path("v.json").read_text())
    assert list(violations(document, Kind.VERIFICATION)) == []
    assert (document["verdict"], document["exit_code"]) == ("not-attested", 3)
    assert ET.parse("v.xml").getroot().get("errors") == "3"  # noqa: S314  (our own file)
    assert "no NVIDIA driver" in Path("v.md").read_text()
    assert "no NVIDIA driver" in Path("v.html").read_text()
    assert bnfold("verify", "--rethreshold", "v.json", "--k", "1e9").code == 3
