"""Ctrl-C, SIGTERM and SIGHUP: every command ends the same way, with exit code 130 and nothing half-written.

The latter two end a process at once by default, and leave its temporary files and its child processes behind. They are
told as Ctrl-C is, so that context managers clean up on the way out: files are written whole or not at all
(`bnfold.files`), children are ended, and a training saves the step that it is at (`bnfold.training.interruption`).
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130

TOLD = "interrupted: what was finished is kept, and no file is half-written"

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # Windows has one


@contextmanager
def interruptible() -> Generator[None]:
    """Raise KeyboardInterrupt in the block where SIGTERM or SIGHUP comes, unless the caller has it ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread():  # signals meet no other
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)
