from copy import deepcopy
from typing import Any

import pytest

from bnfold.errors import InputError
from bnfold.verify.reports import difference
from bnfold.verify.reports.difference import NOISE
from bnfold.verify.reports.markdown_difference import markdown_difference
from tests.verify.reports.documents import Document
from tests.verify.reports.test_markdown import tables


def changed(document: Document, factor: float, rung: str = "runtime") -> Document:
    """Return the document with the error of one rung multiplied."""
    new = deepcopy(document)
    for step in new["outputs"][0]["ladder"]:
        if step["name"] == rung:
            step["error"] = {norm: error * factor for norm, error in step["error"].items()}
    return new


def test_a_report_is_not_worse_than_itself(good: Document, bad: Document) -> None:
    """Nothing changed, nothing is worse; also where it was not equivalent before."""
    for document in (good, bad):
        found = difference(document, deepcopy(document))
        assert (found.exit_code, found.worse, found.versions, found.placement, found.caveats) == (0, (), (), (), ())
        assert len(found.rungs) == 3


def test_worse_begins_beyond_the_noise(good: Document) -> None:
    """An error may grow by less than the factor, and no more; that it still passes does not matter."""
    assert difference(good, changed(good, 0.9 * NOISE)).exit_code == 0
    found = difference(good, changed(good, 8 * NOISE))
    assert found.exit_code == 1
    assert "output logits, on the runtime: the error went from" in found.worse[0]
    assert difference(good, changed(good, 3), noise=2).exit_code == 1


def test_better_is_not_worse(good: Document) -> None:
    """An error that shrank is told and is fine."""
    assert difference(changed(good, 100), good).exit_code == 0


def test_an_error_of_zero_is_no_yardstick(good: Document) -> None:
    """Below what one rounding of every weight does, an error is luck; above it, it is not."""
    lucky = changed(good, 0.0)
    assert difference(lucky, good).exit_code == 0
    assert difference(lucky, changed(good, 1000)).exit_code == 1


def test_an_error_that_is_not_finite_is_worse(good: Document) -> None:
    """Unless it was not finite before."""
    broken = deepcopy(good)
    broken["outputs"][0]["ladder"][-1]["error"] = {"rms": None, "largest": None}
    assert difference(good, broken).exit_code == 1
    assert difference(broken, broken).exit_code == 0


def test_a_graver_verdict_is_worse(good: Document, unattested: Document, empty: Document, bad: Document) -> None:
    """In the order: equivalent, inconclusive, not attested, not equivalent."""
    order = [good, {**empty, "outputs": good["outputs"]}, unattested, {**good, "verdict": "not-equivalent"}]
    for index, old in enumerate(order):
        for position, new in enumerate(order):
            assert difference(old, new).exit_code == (1 if position > index else 0)


def test_what_is_missing_is_worse(good: Document) -> None:
    """An output or a rung that is no longer judged cannot get worse unseen."""
    two: dict[str, Any] = {**good, "outputs": [*good["outputs"], {**good["outputs"][0], "name": "boxes"}]}
    assert difference(two, good).worse == ("output boxes is no longer compared",)
    shorter = deepcopy(good)
    del shorter["outputs"][0]["ladder"][1]
    assert difference(good, shorter).worse == ("output logits: as stored, in float64 is no longer evaluated",)
    assert difference(good, two).exit_code == 0


def test_a_wrong_decision_and_strays_are_worse(good: Document) -> None:
    """A clear top-1 decision that is wrong now, and a node that left the provider."""
    new = deepcopy(good)
    new["outputs"][0]["candidate"]["top1"]["agreeing"] -= 2
    new["placement"]["elsewhere"] = ["conv0 (Conv) on OtherExecutionProvider"]
    assert difference(good, new).worse == (
        "output logits: 2 clear top-1 decisions are wrong",
        "nodes left cpu: conv0 (Conv) on OtherExecutionProvider",
    )


def test_changes_that_are_not_worse_are_told(good: Document) -> None:
    """Versions and kernels, with what was and is; fusions show by their operators."""
    new = deepcopy(good)
    new["environment"]["onnxruntime"] = "9.9"
    del new["environment"]["onnx"]
    kernels = new["placement"]["kernels"]["CPUExecutionProvider"]
    kernels["FusedGemm"] = 1
    found = difference(good, new)
    assert found.exit_code == 0
    told = {change.what: (change.old, change.new) for change in (*found.versions, *found.placement)}
    assert told["onnxruntime"][1] == "9.9"
    assert told["onnx"][1] is None
    assert told["FusedGemm on CPUExecutionProvider"] == (None, "1")


def test_other_circumstances_are_caveats(good: Document) -> None:
    """Another provider, other samples or another file: compared all the same, and said so."""
    new: Document = {**deepcopy(good), "provider": "cuda", "samples": 7}
    new["files"]["candidate"]["sha256"] = "0"
    assert [each.split(":")[0] for each in difference(good, new).caveats] == [
        "the provider was cpu and is cuda",
        "there were 20 samples and are 7",
        "the candidate is another file",
    ]


def test_reports_of_different_models_are_refused(good: Document) -> None:
    """Without an output in common nothing can be said."""
    other = deepcopy(good)
    other["outputs"][0]["name"] = "boxes"
    with pytest.raises(InputError, match=r"no output in common: logits in the old one, boxes in the new one"):
        difference(good, other)


def test_noise_is_a_factor(good: Document) -> None:
    """Below 1, a report would be worse than itself."""
    with pytest.raises(InputError, match=r"--noise 0\.5: expected a factor, 1 or above"):
        difference(good, good, noise=0.5)


def test_markdown_tells_it_at_a_glance(good: Document) -> None:
    """The outcome is the heading; every table is whole; names are no markup."""
    new = changed(good, 100)
    new["environment"]["a|<b>"] = "1"
    shown = markdown_difference(difference(good, new))
    assert shown.startswith("## ❌ bnfold diff: worse (verdict equivalent → equivalent)\n")
    assert "<b>" not in shown
    assert all(len({len(row) for row in table}) == 1 for table in tables(shown))
    assert markdown_difference(difference(good, good)).startswith("## ✅ bnfold diff: not worse")
