"""Time by operator, from the profile that ONNX Runtime writes of its own kernels."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bnfold.bench.setting import Mode, Setting
from bnfold.verify.placement import PlacedNode
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import Arrays

RUNS = 20
"""Runs that are profiled; the profile slows every kernel down a little, so that they are runs of their own."""

WARMUP = 3
"""The first so many of them do not count: the runtime plans its memory in them."""


@dataclass(frozen=True)
class OperatorTime:
    """The kernels of one operator, as the runtime executes them: fusions have operators of their own.

    Attributes:
        operator: its name.
        kernels: how many of them a run executes.
        seconds: what they take together in a run, median over the runs; the profile counts whole microseconds a kernel.
    """

    operator: str
    kernels: int
    seconds: float


def profiled(path: Path, inputs: Arrays, setting: Setting, mode: Mode) -> tuple[OperatorTime, ...]:
    """Return the time by operator of a model, the longest first.

    Raises:
        InputError: the model cannot be loaded, or does not take the inputs.
        AttestationError: the provider cannot be loaded here.
    """
    with open_session(
        path,
        setting.provider,
        optimized=True,
        record=True,
        recorded=WARMUP + RUNS,
        tf32=mode.tf32,
        threads=setting.threads,
    ) as session:
        for _ in range(WARMUP + RUNS):
            session.run(inputs)
        return by_operator(session.placement.executed)


def by_operator(kernels: Iterable[PlacedNode]) -> tuple[OperatorTime, ...]:
    """Return the time by operator of recorded kernels, whose first `WARMUP` runs do not count."""
    seconds: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    counted: set[int] = set()
    for kernel in kernels:
        if kernel.run >= WARMUP:
            counted.add(kernel.run)
            seconds[kernel.op_type][kernel.run] += kernel.seconds
            counts[kernel.op_type][kernel.run] += 1
    times = [
        OperatorTime(
            operator,
            round(statistics.median(counts[operator][run] for run in counted)),
            statistics.median(seconds[operator][run] for run in counted),
        )
        for operator in seconds
    ]
    return tuple(sorted(times, key=lambda time: -time.seconds))
