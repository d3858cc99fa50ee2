import os
from pathlib import Path

import pytest

from bnfold_cli.__main__ import main
from tests.cli.running import Outcome, Run


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test runs in an empty folder, without the machine's own settings of bnfold and of the terminal."""
    for name in [name for name in os.environ if name.startswith("BNFOLD_")]:
        monkeypatch.delenv(name)
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bnfold(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process, through the entry point that a shell uses."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run
