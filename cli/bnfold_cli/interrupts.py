"""Ctrl-C, SIGTERM and SIGHUP: every command ends the same way, with exit code 130 and nothing half-written.

The latter two end a process at once by default, and leave its temporary files and its child processes behind. Here they
are told as Ctrl-C is, so that context managers clean up on the way out: files are written whole or not at all
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

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


@contextmanager
def interruptible() -> Generator[None]:
    """Raise KeyboardInterrupt in the block where a signal comes, unless the caller has it ignored (nohup).

    Whatever error the block ends with after that is taken for a consequence: an extension module that is interrupted
    while it is imported, say, makes an ImportError of it.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():  # signals meet no other
        yield
        return
    received: list[str] = []

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        received.append(signal.Signals(number).name)
        raise KeyboardInterrupt(received[-1])

    before = {number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) in _DEFAULTS}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    except Exception as error:
        if received:
            raise KeyboardInterrupt(received[-1]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
