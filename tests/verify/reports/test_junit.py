from copy import deepcopy
from xml.etree import ElementTree as ET

import pytest

from bnfold.verify.reports.junit import junit
from tests.verify.reports.documents import Document


def suite(document: Document) -> ET.Element:
    """Return the one suite of a report, whose counts agree with its cases."""
    root = ET.fromstring(junit(document).encode())  # noqa: S314  (our own text)
    (found,) = root
    outcomes = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    for element in (root, found):
        assert element.get("tests") == str(len(found.findall("testcase")))
        for count, outcome in outcomes.items():
            assert element.get(count) == str(len(found.findall(f"testcase/{outcome}")))
    return found


def outcomes(document: Document) -> dict[str, str]:
    """Return what became of each case: the tag of its outcome, or ``passed``."""
    tags = {"failure", "error", "skipped"}
    cases = suite(document).findall("testcase")
    return {
        f"{case.get('classname')}/{case.get('name')}": next((c.tag for c in case if c.tag in tags), "passed")
        for case in cases
    }


def test_an_equivalent_model_is_green(good: Document) -> None:
    """Every rung passed; the one that a comparison may lack is skipped and says so."""
    document = deepcopy(good)
    assert "skipped" not in outcomes(document).values()
    del document["outputs"][0]["ladder"][0]
    assert outcomes(document) == {
        "bnfold.verify.logits/exact fold, in float64": "skipped",
        "bnfold.verify.logits/as stored, in float64": "passed",
        "bnfold.verify.logits/on the runtime": "passed",
        "bnfold.attestation/ran on cpu": "passed",
        "bnfold.vacuity/the comparison can show a difference": "passed",
        "bnfold.verdict/equivalent": "passed",
    }


def test_a_difference_is_a_failure(bad: Document) -> None:
    """The rungs that exceed their limit fail, and so does the verdict, which carries the finding's words."""
    found = outcomes(bad)
    assert found["bnfold.verify.logits/as stored, in float64"] == "failure"
    assert found["bnfold.verdict/equivalent"] == "failure"
    assert found["bnfold.attestation/ran on cpu"] == "passed"
    assert bad["findings"][0]["words"] in (suite(bad).findtext("testcase[last()]/failure") or "")


def test_what_could_not_be_judged_is_an_error(unattested: Document, empty: Document) -> None:
    """Neither a failure nor, above all, a skipped case, which CI systems take for green."""
    assert outcomes(unattested)["bnfold.attestation/ran on cpu"] == "error"
    assert outcomes(unattested)["bnfold.verdict/equivalent"] == "error"
    assert outcomes(empty) == {
        "bnfold.attestation/ran on cpu": "passed",
        "bnfold.vacuity/the comparison can show a difference": "error",
        "bnfold.verdict/equivalent": "error",
    }


@pytest.mark.parametrize("name", ["good", "bad", "unattested", "empty"])
def test_the_suite_is_green_if_and_only_if_equivalent(name: str, request: pytest.FixtureRequest) -> None:
    """No verdict but `equivalent` lets a pipeline pass, whatever else the report holds."""
    document: Document = request.getfixturevalue(name)
    red = {"failure", "error"} & set(outcomes(document).values())
    assert bool(red) == (document["exit_code"] != 0)


def test_rungs_beside_the_verdict_never_fail(good: Document) -> None:
    """TF32 is measured; its error is no fault of the candidate."""
    document = deepcopy(good)
    document["outputs"][0]["ladder"].append(
        {**document["outputs"][0]["ladder"][-1], "name": "tf32", "judged": False, "passed": False}
    )
    assert outcomes(document)["bnfold.verify.logits/on the runtime, with TF32"] == "skipped"


def test_any_name_makes_well_formed_xml(good: Document) -> None:
    """Names come from files: markup, controls and half surrogates are shown, never broken XML."""
    document = deepcopy(good)
    document["outputs"][0]["name"] = "<b>&\"'\x00\x1b]]>\ud800"
    document["environment"]["onnx"] = None
    names = {case.get("classname") for case in suite(document).findall("testcase")}
    assert "bnfold.verify.<b>&\"'\ufffd\ufffd]]>\ufffd" in names
