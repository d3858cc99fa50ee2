"""Several processes of torchrun that do one command's work: the first speaks for all."""

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

from bnfold.errors import BnfoldError

T = TypeVar("T")

LINGER: Final = 30.0
"""Seconds that a process which says nothing waits to be ended, so that the first has the time to speak."""


def is_one_of_several() -> bool:
    """Return whether torchrun started other processes too; known without torch."""
    return os.environ.get("WORLD_SIZE", "") not in {"", "1"}


def speaking_for_all(work: Callable[[], T], note: Callable[[str], None]) -> T | None:
    """Return what ``work`` returns, None in all processes of torchrun but the first, which speaks for all.

    What is wrong with the input they all see alike. Only that a process was lost is told by all that are left, since it
    may have been the first.

    The others end a moment after it: torchrun ends all processes as soon as one has failed, and the first would be
    silenced.

    Args:
        work: what every process does.
        note: told where a training that was interrupted stopped.

    Raises:
        SystemExit: an error that the first process tells.
        BnfoldError: any other that ``work`` raises.
        KeyboardInterrupt: ``work`` was interrupted, in the first process.
    """
    from bnfold.training.interruption import InterruptedTrainingError
    from bnfold.training.replicas import ProcessLostError, rank_of_this_process

    is_first = rank_of_this_process() == 0
    try:
        trained = work()
    except InterruptedTrainingError as error:
        if is_first:
            note(str(error))
            raise
        raise SystemExit(error.exit_code) from error
    except BnfoldError as error:
        if is_first or isinstance(error, ProcessLostError):
            raise
        if is_one_of_several():
            time.sleep(LINGER)
        raise SystemExit(error.exit_code) from error
    return trained if is_first else None
