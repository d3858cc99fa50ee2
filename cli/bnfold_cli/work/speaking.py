"""Several processes of torchrun that do one command's work: the first speaks for all."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

from bnfold.errors import BnfoldError
from bnfold_cli.interrupts import INTERRUPTED

T = TypeVar("T")

PATIENCE: Final = timedelta(seconds=3)
"""How long torchrun's store is waited for; it ends processes that do not end by themselves after 30 s."""

LINGER: Final = 30.0
"""Seconds that a process which says nothing waits to be ended, so that the first has the time to speak."""


def is_one_of_several() -> bool:
    """Return whether torchrun started other processes too; known without torch."""
    return os.environ.get("WORLD_SIZE", "") not in {"", "1"}


def speaking_for_all(work: Callable[[], T], note: Callable[[str], None]) -> T | None:
    """Return what ``work`` returns, None in all processes of torchrun but the first, which speaks for all.

    What is wrong with the input they all see alike. That a process was lost, or all were told to stop, is told by the
    one that is the first to notice: the lost one may have been the first process.

    The others end a moment after it: torchrun ends all processes as soon as one has failed, and the first would be
    silenced.

    Args:
        work: what every process does.
        note: told where a training that was interrupted stopped.

    Raises:
        SystemExit: an error that another process tells.
        BnfoldError: any other that ``work`` raises.
        KeyboardInterrupt: ``work`` was interrupted, and this process is to tell it.
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
    except ProcessLostError as error:
        if _notices_first():
            raise
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        if _notices_first():
            raise
        raise SystemExit(INTERRUPTED) from error
    except BnfoldError as error:
        if is_first:
            raise
        if is_one_of_several():
            time.sleep(LINGER)
        raise SystemExit(error.exit_code) from error
    return trained if is_first else None


def _notices_first() -> bool:
    """Return whether no other process has asked this yet.

    torchrun's own store knows, which outlives the processes; where it does not answer, each has to speak.
    """
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  # torch documents it as public

    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, timeout=PATIENCE, wait_for_workers=False)
        return store.add(f"bnfold/noticed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", 1) == 1
    except (KeyError, ValueError, RuntimeError):
        return True
