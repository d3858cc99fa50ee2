"""Ctrl-C, SIGTERM and SIGHUP in training: the step in progress is taken to its end and saved; a second ends at once."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class InterruptedTrainingError(KeyboardInterrupt):
    """The training was told to end, and has left a checkpoint of the step that it was at."""

    exit_code = 130


@contextmanager
def interruptions() -> Generator[Callable[[], bool]]:
    """Hold signals back in the block; yields a function that tells whether one has come.

    Signals meet the main thread only: in any other nothing is held back, and the function says no.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            # None stands for a handler that was not installed from Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def hold_back(number: int, _: FrameType | None) -> None:
        received.append(number)
        restore()  # the second one is whatever it was before

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # under nohup, say
            signal.signal(number, hold_back)
    try:
        yield lambda: bool(received)
    finally:
        restore()
