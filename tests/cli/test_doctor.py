import json
import sys

import pytest

from bnfold_cli.output import Output
from bnfold_cli.rendering.doctor import diagnosis
from bnfold_cli.work.doctor import PROVIDERS, TRIALS, Diagnosis, Trial, attempt, findings
from tests.cli.running import Run

ALL = {"torch": "2.13.0", "onnxruntime": None, "onnxruntime-gpu": "1.28.0"}


def _trials(**works: bool) -> tuple[Trial, ...]:
    return tuple(Trial(name, works.get(name, True), "") for name in TRIALS)


def test_doctor_tells_the_truth_about_this_machine(bnfold: Run) -> None:
    """What runs here is tried, not looked up: the CPU's provider computes, and each trial says what it found."""
    outcome = bnfold("doctor", "--json")
    document = json.loads(outcome.out)
    works = {trial["name"]: trial["works"] for trial in document["trials"]}
    assert tuple(works) == TRIALS
    assert (outcome.code, works["cpu"], document["usable"]) == (0, True, True)
    # Without a driver nothing of NVIDIA's can have run.
    assert works["driver"] or not (works["cuda"] or works["tensorrt"])
    assert all(trial["detail"] for trial in document["trials"])
    assert document["distributions"]["onnx"]


def test_people_get_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The diagnosis fits 80 columns, long words of a loader's error folded rather than cut."""
    monkeypatch.setenv("COLUMNS", "80")
    detail = f"{'Z' * 90}.so.13: cannot open shared object file"
    trials = (*_trials()[:-1], Trial("tensorrt", works=False, detail=detail))
    with Output("doctor") as out:
        out.result({}, diagnosis(Diagnosis("CPython", ALL, trials, ("pip install something else.",))))
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.count("Z") == 90
    assert "ONNX Runtime cpu" in text
    assert "! pip install something else." in text


@pytest.mark.parametrize(
    ("distributions", "works", "words"),
    [
        ({"onnxruntime": "1.28.0"}, {}, "overwrite each other"),
        ({"onnxruntime-gpu": None}, {}, "ONNX Runtime is missing"),
        ({"torch": None}, {}, "torch is missing"),
        ({"onnxruntime": "1.28.0", "onnxruntime-gpu": None}, {}, "is the CPU build"),
        ({}, {"cuda": False}, "CUDA does not load"),
    ],
)
def test_each_trouble_is_found(distributions: dict[str, str | None], works: dict[str, bool], words: str) -> None:
    """Each clash or gap leads to one line that says what to install."""
    (finding,) = findings({**ALL, **distributions}, _trials(**works))
    assert words in finding
    assert "pip" in finding


def test_a_sound_machine_has_no_findings() -> None:
    """With and without a GPU, an installation that works is not complained about."""
    assert findings(ALL, _trials()) == []
    assert findings(ALL, _trials(driver=False, cuda=False, tensorrt=False)) == []


def test_nothing_that_runs_is_exit_code_three() -> None:
    """A machine on which no provider runs cannot attest anything."""
    nothing = Diagnosis("", ALL, _trials(**dict.fromkeys(PROVIDERS, False)), ())
    assert (nothing.usable, nothing.exit_code) == (False, 3)
    assert Diagnosis("", ALL, _trials(cuda=False, tensorrt=False), ()).exit_code == 0


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os; os.abort()", "crashed (-6)"),
        ("raise SystemExit('no such luck')", "no such luck"),
        ("pass", "ended with 0 and said nothing"),
    ],
)
def test_a_trial_that_dies_is_a_trial_that_failed(program: str, words: str) -> None:
    """A library that takes its process down does not take bnfold down."""
    trial = attempt("cuda", (sys.executable, "-c", program))
    assert not trial.works
    assert words in trial.detail
