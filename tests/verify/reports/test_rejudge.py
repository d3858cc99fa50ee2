from copy import deepcopy

import pytest

from bnfold.errors import InputError
from bnfold.verify.reports import rejudge
from bnfold.verify.reports.schema import Kind, violations
from tests.verify.reports.documents import Document, size


@pytest.mark.parametrize("name", ["good", "bad", "unattested", "empty"])
def test_a_report_agrees_with_its_own_figures(name: str, request: pytest.FixtureRequest) -> None:
    """Without other factors the same limits, rungs and verdict come out, whatever the verdict."""
    document: Document = request.getfixturevalue(name)
    again = rejudge(document)
    assert (again["verdict"], again["exit_code"]) == (document["verdict"], document["exit_code"])
    for ours, theirs in zip(again["ladder"], document["ladder"], strict=True):
        assert ours["passed"] is theirs["passed"]
        assert ours["limit"] == pytest.approx(theirs["limit"], rel=1e-12)
        assert ours["error_over_limit"] == pytest.approx(theirs["error_over_limit"], rel=1e-12)


def test_wider_limits_let_a_difference_pass(bad: Document) -> None:
    """With floors a thousand times as high the wrong ε is within the limits; what followed from them is gone."""
    assert bad["verdict"] == "not-equivalent"
    again = rejudge(bad, floor_scale=1000)
    assert again["rejudged"]["verdict_before"] == "not-equivalent"
    assert all(rung["passed"] for rung in again["ladder"])
    assert "rung" not in {finding["about"] for finding in again["findings"]}


def test_narrow_limits_let_nothing_pass(good: Document) -> None:
    """Without any tolerance the candidate's own rounding is a difference, named with its first rung."""
    again = rejudge(good, k=0, floor_scale=0)
    assert (again["verdict"], again["exit_code"]) == ("not-equivalent", 1)
    (finding,) = again["findings"]
    assert (finding["about"], finding["output"], finding["rung"]) == ("rung", "logits", "algebra")
    assert "output logits: exact fold, in float64: rms error" in finding["words"]


def test_k_scales_the_baseline_and_not_the_floor(good: Document) -> None:
    """limit = k · baseline + floor, in both norms."""
    rung = rejudge(good, k=3)["outputs"][0]["ladder"][-1]
    for norm in ("rms", "largest"):
        assert rung["limit"][norm] == 3 * rung["baseline"][norm] + rung["floor"][norm]


def test_no_factor_excuses_what_follows_from_no_limit(unattested: Document, empty: Document) -> None:
    """A run elsewhere, or nothing compared, stays what it is."""
    assert rejudge(unattested, k=1e9)["exit_code"] == 3
    assert rejudge(empty, k=1e9)["exit_code"] == 4


def test_limits_as_wide_as_the_outputs_decide_nothing(good: Document) -> None:
    """A limit that exceeds what the outputs vary by would excuse any candidate: inconclusive, not equivalent."""
    again = rejudge(good, k=1e7)
    assert (again["verdict"], again["exit_code"]) == ("inconclusive", 4)
    assert "it would not show a difference" in again["findings"][0]["words"]


def test_faults_that_are_still_caught_speak_for_wide_limits(plain: Document) -> None:
    """An output that varies little is good enough if all of eight planted faults exceed the new limits for certain."""
    mutant = {"kind": "wrong epsilon", "node": "conv0", "error_over_limit": 1e6, "killed": True}
    test = {"total": 8, "killed": 8, "kill_rate": 1.0, "words": "all", "mutants": [mutant] * 8}
    document: Document = {**deepcopy(plain), "mutation": test}
    output = document["outputs"][0]
    output["variation"] = 5 * output["ladder"][-1]["limit"]["rms"]
    assert rejudge(document, k=80)["verdict"] == "equivalent"
    lost = rejudge(document, k=1e9)
    assert (lost["verdict"], lost["mutation"]["killed"], lost["mutation"]["kill_rate"]) == ("inconclusive", 0, 0.0)
    assert {finding["about"] for finding in lost["findings"]} == {"contrast", "self-test"}
    assert "caught none of 8 wrong candidates" in lost["findings"][-1]["words"]
    small = {**test, "mutants": [{**mutant, "error_over_limit": 1.01}, *[mutant] * 7]}
    missed = rejudge({**document, "mutation": small}, k=80)
    assert (missed["verdict"], missed["mutation"]["killed"]) == ("inconclusive", 7)
    assert "and the self-test missed 1 of 8 wrong candidates; compare on real data" in missed["findings"][0]["words"]
    few = {**test, "total": 7, "killed": 7, "mutants": [mutant] * 7}
    assert rejudge({**document, "mutation": few}, k=80)["verdict"] == "inconclusive"


def test_narrower_limits_catch_what_was_caught(good: Document) -> None:
    """The self-test is as it was."""
    assert rejudge(good, k=1)["mutation"] == good["mutation"]


def test_a_constant_output_is_never_excused(good: Document) -> None:
    """Not by limits of zero either."""
    document = deepcopy(good)
    document["outputs"][0]["variation"] = 0.0
    again = rejudge(document, floor_scale=1)
    assert (again["verdict"], again["findings"][0]["about"]) == ("inconclusive", "contrast")


def test_what_is_not_finite_never_passes(good: Document) -> None:
    """null in a report is NaN or infinity: no limit holds it."""
    document = deepcopy(good)
    document["outputs"][0]["ladder"][-1]["error"] = {"rms": None, "largest": None}
    again = rejudge(document, k=1e300)
    assert again["exit_code"] == 1
    assert again["ladder"][-1]["error_over_limit"] is None


def test_an_older_report_says_what_it_does_not_hold(bad: Document) -> None:
    """Findings without a subject stay, and it is said."""
    document = deepcopy(bad)
    for finding in document["findings"]:
        del finding["about"]
    del document["outputs"][0]["variation"]
    document["mutation"] = None
    again = rejudge(document, floor_scale=1e6)
    assert again["verdict"] == "not-equivalent"
    told = " ".join(again["rejudged"]["cannot_rejudge"])
    assert "of an older bnfold" in told
    assert "whether the outputs vary enough" in told
    assert "which top-1 decisions are clear" in told
    assert "the localization" in told


def test_judging_again_twice_starts_from_the_figures(good: Document) -> None:
    """Factors do not pile up: the second call's are the ones that count."""
    twice = rejudge(rejudge(good, k=100, floor_scale=7), k=8, floor_scale=1)
    assert twice["ladder"][-1]["limit"] == rejudge(good)["ladder"][-1]["limit"]
    assert twice["verdict"] == "equivalent"


@pytest.mark.parametrize(
    ("k", "floor_scale", "told"), [(-1, 1, "--k -1"), (float("nan"), 1, "--k nan"), (8, -2, "--floor")]
)
def test_factors_are_numbers(good: Document, k: float, floor_scale: float, told: str) -> None:
    """A negative limit or NaN would pass or fail all in silence."""
    with pytest.raises(InputError, match=told):
        rejudge(good, k=k, floor_scale=floor_scale)


def with_edge_cases(document: Document) -> Document:
    """Return a report with one case at half of its limit, k times 1 + 4 = 12, and one that did not run."""
    figures = {"error": size(6.0), "baseline": size(1.0), "floor": size(4.0), "name": "y"}
    case = {
        "name": "zeros",
        "words": "all zeros",
        "samples": 1,
        "passed": True,
        "error_over_limit": 0.5,
        "finite": True,
    }
    return {**document, "edge_cases": [{**case, "outputs": [figures]}, {**case, "name": "large", "outputs": []}]}


@pytest.mark.parametrize(
    ("k", "floor_scale", "excess"), [(None, None, 0.5), (2, None, 1.0), (1, None, 1.2), (8, 0.5, 0.6), (0, 0, None)]
)
def test_edge_cases_are_judged_again(
    good: Document, k: float | None, floor_scale: float | None, excess: float | None
) -> None:
    """By the figures of each output; what is not passed is found, and what did not run stays as it was."""
    assert good["criterion"]["k"] == 8
    again = rejudge(with_edge_cases(good), k=k, floor_scale=floor_scale)
    first, second = again["edge_cases"]
    assert first["error_over_limit"] == (None if excess is None else pytest.approx(excess))
    assert first["passed"] == (excess is not None and excess <= 1)
    assert second["passed"]
    found = [finding["words"] for finding in again["findings"] if finding["about"] == "edge-case"]
    assert len(found) == (not first["passed"])
    assert again["exit_code"] != 0 or first["passed"]
    assert not any("edge cases" in words for words in again["rejudged"]["cannot_rejudge"])
    assert not list(violations(again, Kind.VERIFICATION))
