"""Processes that train together, forked from one program so that torch is imported once: for programs."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path


def replicate(size: int, place: Path, work: Callable[[int], object]) -> list[object]:
    """Run ``work(rank)`` in ``size`` processes with torchrun's environment; return what they gave, as JSON has it.

    A process that raises or is killed counts as one that gave ``{"ended": exit code, or minus the signal}``.
    """
    place.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    children = [_forked(rank, size, port, place, work) for rank in range(size)]
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return [
        json.loads((place / f"{rank}.json").read_text()) if code == 0 else {"ended": code}
        for rank, code in enumerate(ended)
    ]


def _forked(rank: int, size: int, port: int, place: Path, work: Callable[[int], object]) -> int:
    child = os.fork()
    if child:
        return child
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    code = 1
    try:
        (place / f"{rank}.json").write_text(json.dumps(work(rank)))
        code = 0
    finally:
        # Not past the fork: the parent's code is not this process's.
        os._exit(code)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
