"""Entry point: every way that a command can end, as an exit code and at most one line on stderr."""

import os
import sys
import traceback
from collections.abc import Sequence

from bnfold.errors import BnfoldError
from bnfold.json_text import json_text
from bnfold_cli.interrupts import INTERRUPTED, TOLD, interruptible
from bnfold_cli.output import write

USAGE = 2
INTERNAL = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; 0 to 4 as the command says, 5 for an error of bnfold's own.

    With ``--json`` a failure too is one object on stdout: ``{"error": {"type", "message", "exit_code"}}``.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # Threads that wait by spinning, OpenMP's default, take the cores from each other: on a busy machine with two of
    # them, three epochs on the digits took 45 s instead of 1.5 s. Read when torch loads, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _replace_unprintable()
    try:
        with interruptible():
            code = _run(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        return _fail(error, arguments)
    if code == INTERRUPTED:
        write(sys.stderr, f"{TOLD}\n")
        _write_failure("KeyboardInterrupt", TOLD, code, arguments)
    return code


def _run(arguments: list[str]) -> int:
    from typer.main import get_command

    from bnfold_cli.app import app
    from bnfold_cli.usage import require_no_empty_words

    require_no_empty_words(arguments)
    outcome: object = get_command(app).main(arguments, prog_name="bnfold", standalone_mode=False)
    return outcome if isinstance(outcome, int) else 0


def _fail(error: Exception, arguments: Sequence[str]) -> int:
    if "--debug" in arguments or os.environ.get("BNFOLD_DEBUG", "0") not in {"", "0"}:
        traceback.print_exception(error)
    code, message = _explain(error)
    prefix = "internal error" if code == INTERNAL and not isinstance(error, BnfoldError) else "error"
    write(sys.stderr, f"{prefix}: {message}\n")
    _write_failure(type(error).__name__, message, code, arguments)
    return code


def _write_failure(kind: str, message: str, code: int, arguments: Sequence[str]) -> None:
    if "--json" in arguments:
        write(sys.stdout, json_text({"error": {"type": kind, "message": message, "exit_code": code}}))


def _explain(error: Exception) -> tuple[int, str]:
    from typer import TyperException

    from bnfold_cli.usage import usage_message

    if isinstance(error, BnfoldError):
        return error.exit_code, _one_line(str(error))
    if isinstance(error, TyperException):
        return USAGE, _one_line(usage_message(error))
    detail = _one_line(str(error))
    return INTERNAL, f"{type(error).__name__}{': ' if detail else ''}{detail} (--debug shows the traceback)"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _replace_unprintable() -> None:
    """Print what the terminal's encoding lacks (``→`` in ASCII) as an escape rather than fail on it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
