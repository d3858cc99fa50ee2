"""SIGTERM and SIGHUP end every command as Ctrl-C does: exit code 130, one line, nothing half-written, no child left."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bnfold.graph import protobuf
from bnfold_cli.interrupts import interruptible
from tests.cli.models import write_model
from tests.cli.running import Run, child_environment

SIGNALS = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def place() -> Iterator[None]:
    """A model to work on; SIGHUP as it is by default, also where the tests run under nohup."""
    write_model(Path("m.onnx"))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_write_that_is_interrupted_leaves_what_was_there(
    bnfold: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The old file is whole, the new one is gone, and the handlers are what they were."""

    def half(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        signal.raise_signal(number)

    monkeypatch.setattr(protobuf, "write", half)
    Path("out.onnx").write_text("old")
    outcome = bnfold("fold", "m.onnx", "-o", "out.onnx", "--force", "--json")
    assert (outcome.code, outcome.err.count("\n")) == (130, 1)
    assert outcome.err.startswith("interrupted: what was finished is kept")
    assert json.loads(outcome.out)["error"]["exit_code"] == 130
    assert Path("out.onnx").read_text() == "old"
    assert {path.name for path in Path().iterdir()} == {"m.onnx", "out.onnx"}
    assert signal.getsignal(number) is signal.SIG_DFL


def test_what_an_interruption_is_made_into() -> None:
    """An import that is interrupted inside an extension module fails as an ImportError; an error without one stays."""

    def fail(*, interrupted: bool) -> None:
        try:
            if interrupted:
                signal.raise_signal(signal.SIGTERM)
        finally:
            raise ImportError("initialization failed")

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), interruptible():
        fail(interrupted=True)
    with pytest.raises(ImportError), interruptible():
        fail(interrupted=False)


def test_what_the_caller_ignores_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_program_that_is_told_to_end_cleans_up(tmp_path: Path) -> None:
    """An export in the middle of its work, as CI ends one that takes too long: no temporary file stays, no bundle."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "bnfold_cli", "export", "m.onnx", "-o", "bundle", "--samples", "50000"]
    environment = child_environment(TMPDIR=str(temporary))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        deadline = time.monotonic() + 60
        while not any(temporary.glob("bnfold-*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)  # until the original is written there, for the runtime to run in thousands of batches
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in err
    assert not any(temporary.glob("bnfold-*"))
    assert {path.name for path in Path().iterdir()} == {"m.onnx", "temporary"}
