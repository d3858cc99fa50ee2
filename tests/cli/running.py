"""Running the command line from tests: in this process, or as a program of its own."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def snapshot() -> dict[str, str]:
    """Return every path below the working folder with the hash of its content."""
    paths = sorted(Path().rglob("*"))
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder" for p in paths}


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child process that finds the packages where this one does."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, **changes}


def bnfold_process(*arguments: object, stdout: Path | None = None, **environment: str) -> Outcome:
    """Run ``python -m bnfold_cli`` as a program of its own, its streams piped, or its output sent to a file."""
    command = [sys.executable, "-m", "bnfold_cli", *(str(argument) for argument in arguments)]
    with nullcontext(subprocess.PIPE) if stdout is None else stdout.open("w") as stream:
        done = subprocess.run(
            command, stdout=stream, stderr=subprocess.PIPE, text=True, env=child_environment(**environment), check=False
        )
    return Outcome(done.returncode, done.stdout or "", done.stderr)
