"""Calls by turns: once a round each, in an order drawn anew, so that what disturbs one disturbs all.

A call leaves the caches as it used them: in an order that stayed the same, or only rotated, each call would have the
same one before it every time, and a large model would slow down whichever comes next.
"""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

from bnfold.errors import InputError
from bnfold.progress import Progress, silent

Key = TypeVar("Key", bound=Hashable)


def interleaved(
    calls: Mapping[Key, Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    progress: Progress = silent,
    description: str = "latency",
) -> dict[Key, list[float]]:
    """Return wall-clock seconds of every call, a number a round; the first ``warmup`` rounds do not count."""
    keys, measured = list(calls), {key: list[float]() for key in calls}
    rng = np.random.default_rng(0)
    for _ in progress(range(warmup + rounds), description=description, total=warmup + rounds):
        for position in rng.permutation(len(keys)):
            key = keys[position]
            measured[key].append(_seconds(calls[key]))
    return {key: seconds[warmup:] for key, seconds in measured.items()}


def require_rounds(rounds: int, warmup: int, *, models: int) -> None:
    """Refuse to measure nothing, before anything is opened.

    Raises:
        InputError: there is no model or no round.
    """
    if models < 1 or rounds < 1 or warmup < 0:
        raise InputError(f"latency: expected models and rounds, found {models} models, {rounds} rounds.")


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
