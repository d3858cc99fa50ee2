"""What only a program of its own can show: signals, terminals, closed pipes, what is imported."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnfold_cli.interrupts import TOLD
from tests.cli.models import write_model
from tests.cli.running import bnfold_process, child_environment

PROGRAM = (sys.executable, "-m", "bnfold_cli")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_training_leaves_a_run_to_resume(number: signal.Signals) -> None:
    """Ctrl-C ends with 130 and one word; no temporary file is left, and the run says that it is not finished."""
    command = [*PROGRAM, "train", "digits-cnn", "-o", "run", "--epochs", "5000", "--model-arg", "width=2", "--quiet"]
    with subprocess.Popen(command, env=child_environment(), stdout=-1, stderr=-1, text=True) as process:
        deadline = time.monotonic() + 60
        while not Path("run/checkpoint.safetensors").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", f"{TOLD}\n")
    files = {path.name for path in Path().rglob("*") if path.is_file()}
    assert files - {"best.safetensors"} == {"run.json", "metrics.jsonl", "checkpoint.safetensors"}
    assert '"finished": false' in Path("run/run.json").read_text()


def test_a_closed_pipe_does_not_change_the_exit_code() -> None:
    """``bnfold inspect a.onnx | true`` ends as the work did, without a word about the pipe."""
    write_model(Path("a.onnx"))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        command = [*PROGRAM, "inspect", "a.onnx"]
        done = subprocess.run(command, stdout=nobody, stderr=-1, text=True, env=child_environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_they_are_not_wanted(environment: dict[str, str], coloured: bool) -> None:
    """On a terminal help comes in colours; with ``NO_COLOR`` no colour code is sent."""
    main, terminal = pty.openpty()
    child = child_environment(TERM="xterm-256color", COLUMNS="80", **environment)
    with subprocess.Popen([*PROGRAM, "fold", "--help"], stdout=terminal, stderr=terminal, env=child) as process:
        os.close(terminal)
        text = _read_all(main)
    assert process.returncode == 0
    assert "--explain" in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert bool(re.search(r"\x1b\[([0-9]+;)*[39][0-7]m", text)) == coloured


def _read_all(descriptor: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux's word for a terminal whose other end is closed
            part = b""
        if not part:
            os.close(descriptor)
            return b"".join(parts).decode()
        parts.append(part)


@pytest.mark.parametrize(
    "command", ["fold a.onnx -o f.onnx", "inspect a.onnx", "export a.onnx -o b", "verify a.onnx a.onnx"]
)
def test_onnx_files_need_no_torch(command: str) -> None:
    """The commands on ONNX files run to their end without importing torch."""
    write_model(Path("a.onnx"))
    program = (
        "import sys\n"
        "from bnfold_cli.__main__ import main\n"
        f"code = main({command.split()!r})\n"
        "sys.exit(99 if 'torch' in sys.modules else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=child_environment(), check=False)
    assert done.returncode == 0, done


def test_a_terminal_without_unicode_gets_something() -> None:
    """Where the terminal's encoding has no arrows, help is still shown."""
    outcome = bnfold_process("--help", PYTHONIOENCODING="ascii")
    assert (outcome.code, outcome.err) == (0, "")
    assert "calibrate" in outcome.out


def test_errors_of_the_real_program() -> None:
    """Through the real entry point too: one line, exit code 2, nothing on stdout."""
    assert bnfold_process("fold", "missing.onnx", "-o", "f.onnx") == (2, "", "error: missing.onnx: no such file.\n")
