import json

import pytest

from bnfold.errors import AttestationError, BnfoldError, InputError
from bnfold_cli.interrupts import TOLD
from bnfold_cli.work import doctor
from tests.cli.running import Run


def _plant(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let ``bnfold doctor`` fail in the middle of its work."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(doctor, "examine", fail)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a.onnx: no such file."), 2, "error: a.onnx: no such file."),
        (AttestationError("CUDA is not there."), 3, "error: CUDA is not there."),
        (BnfoldError("two\nlines"), 5, "error: two lines"),
        (KeyboardInterrupt(), 130, TOLD),
        (ZeroDivisionError("x / 0"), 5, "internal error: ZeroDivisionError: x / 0 (--debug shows the traceback)"),
        (AssertionError(), 5, "internal error: AssertionError (--debug shows the traceback)"),
    ],
)
def test_every_end_has_its_code_and_one_line(
    bnfold: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    """Whatever is raised, the exit code tells its kind and stderr has one line, stdout none."""
    _plant(monkeypatch, error)
    assert bnfold("doctor") == (code, "", f"{line}\n")


def test_failures_are_json_too(bnfold: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--json`` a program that reads stdout finds one object there, also when the command fails."""
    _plant(monkeypatch, InputError("a.onnx: no such file."))
    outcome = bnfold("doctor", "--json")
    assert json.loads(outcome.out) == {
        "error": {"type": "InputError", "message": "a.onnx: no such file.", "exit_code": 2}
    }
    assert outcome.err == "error: a.onnx: no such file.\n"


@pytest.mark.parametrize("arguments", [["fodl", "--json"], ["fold", "--json"], ["fold", "--bogus", "--json"]])
def test_usage_errors_are_json_too(bnfold: Run, arguments: list[str]) -> None:
    """That holds for lines that the parser refuses, before any command runs."""
    outcome = bnfold(*arguments)
    assert outcome.code == 2
    assert json.loads(outcome.out)["error"]["exit_code"] == 2
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("how", ["option", "variable"])
def test_debug_shows_the_traceback(bnfold: Run, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """``--debug`` and ``BNFOLD_DEBUG=1`` put the traceback before the line."""
    _plant(monkeypatch, ZeroDivisionError("x / 0"))
    monkeypatch.setenv("BNFOLD_DEBUG", "1" if how == "variable" else "0")
    outcome = bnfold("doctor", *(["--debug"] if how == "option" else []))
    assert outcome.code == 5
    assert "Traceback (most recent call last)" in outcome.err
    assert outcome.err.endswith("internal error: ZeroDivisionError: x / 0 (--debug shows the traceback)\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["fodl"], "error: No such command 'fodl'. Did you mean 'fold'? See 'bnfold --help'."),
        (["fold", "a.onnx"], "error: Missing option '--output' / '-o'. See 'bnfold fold --help'."),
        (["fold", "--bogus"], "error: No such option: --bogus. See 'bnfold fold --help'."),
    ],
)
def test_usage_errors_point_to_the_page(bnfold: Run, arguments: list[str], line: str) -> None:
    """A line that does not parse ends with 2, one line, and the page that helps."""
    assert bnfold(*arguments) == (2, "", f"{line}\n")


def test_values_from_elsewhere_say_so(bnfold: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value that is not on the command line is traced to the environment."""
    monkeypatch.setenv("BNFOLD_TRAIN_EPOCHS", "many")
    outcome = bnfold("train", "digits-cnn", "--data", "digits", "-o", "run")
    assert outcome.code == 2
    assert "'--epochs'" in outcome.err
    assert "(from the environment)" in outcome.err
