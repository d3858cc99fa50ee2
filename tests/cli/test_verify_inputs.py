"""What ``bnfold verify`` draws, tries and explains."""

import json
from pathlib import Path

import pytest

from tests.cli.models import write_inputs, write_model
from tests.cli.running import Run


@pytest.fixture
def folded(bnfold: Run) -> tuple[Path, Path]:
    """Return a model and its fold."""
    model = write_model(Path("a.onnx"))
    assert bnfold("fold", model, "-o", "b.onnx").code == 0
    return model, Path("b.onnx")


def test_random_inputs_come_with_edge_cases_and_a_self_test(bnfold: Run, folded: tuple[Path, Path]) -> None:
    """The report has all of it; the page for people has a sentence on each."""
    document = json.loads(bnfold("verify", *folded, "--samples", 9, "--json").out)
    assert [case["name"] for case in document["edge_cases"]] == ["zeros", "large", "denormal", "border"]
    assert (document["mutation"]["kill_rate"], document["mutation"]["total"]) == (1.0, 6)
    assert document["localization"]["first_fault"] is None
    assert [rung["name"] for rung in document["ladder"]] == ["algebra", "storage", "runtime"]
    words = " ".join(bnfold("verify", *folded, "--samples", 9).out.split())
    for told in (document["diagnosis"], document["mutation"]["words"], "4 of 4 edge cases passed"):
        assert told in words


def test_data_are_compared_as_they_are(bnfold: Run, folded: tuple[Path, Path]) -> None:
    """Who brings data gets no edge cases, and no ranges."""
    data = f"npz:{write_inputs(Path('x.npz'), samples=9)}"
    document = json.loads(bnfold("verify", *folded, "--data", data, "--json").out)
    assert (document["verdict"], document["edge_cases"]) == ("equivalent", [])
    outcome = bnfold("verify", *folded, "--data", data, "--range", "x=0:1")
    assert (outcome.code, "leave out one of --data and --range" in outcome.err) == (2, True)


def test_ranges(bnfold: Run, folded: tuple[Path, Path]) -> None:
    """Values are drawn between the bounds: others than without, the same for the same seed."""
    plain, ranged, again = (
        json.loads(bnfold("verify", *folded, "--samples", 9, *more, "--json").out)
        for more in ((), ("--range", "x=0:255"), ("--range", "x=0:255"))
    )
    assert ranged["verdict"] == "equivalent"
    assert ranged["inputs"] == again["inputs"] != plain["inputs"]


@pytest.mark.parametrize("text", ["x", "x=1", "x=a:b", "=0:1", "x=1:0", "x=0:inf", "y=0:1", "x=1:2:3"])
def test_ranges_that_are_none(bnfold: Run, folded: tuple[Path, Path], text: str) -> None:
    """Bad input, on one line that says what is expected."""
    outcome = bnfold("verify", *folded, "--range", text)
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (2, 1)
    assert "range" in outcome.err


def test_the_self_test_is_as_large_as_asked_for(bnfold: Run, folded: tuple[Path, Path]) -> None:
    """Two wrong candidates, or none at all."""
    two, none = (json.loads(bnfold("verify", *folded, "--mutants", n, "--json").out) for n in (2, 0))
    assert (two["mutation"]["total"], none["mutation"], none["exit_code"]) == (2, None, 0)


def test_figures_are_explained_without_running_anything(bnfold: Run) -> None:
    """Every figure of an output's report has its line."""
    outcome = bnfold("verify", "--explain-figures", "--json")
    explained = json.loads(outcome.out)["figures"]
    assert outcome.code == 0
    model = write_model(Path("a.onnx"))
    (output,) = json.loads(bnfold("verify", model, model, "--samples", 5, "--json").out)["outputs"]
    assert output["candidate"].keys() <= explained.keys()
    assert {"limit", "floor", "baseline", "error_over_limit", "k", "kill_rate"} <= explained.keys()
    assert "max_ulp" in bnfold("verify", "--explain-figures").out
