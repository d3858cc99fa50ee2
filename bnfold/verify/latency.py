"""Latency of several models side by side: interleaved in one process, so that what disturbs one disturbs all."""

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import Session, open_session


@dataclass(frozen=True)
class Latency:
    """Wall-clock seconds a call of one model: median and range over the rounds, and its ratio to the first model.

    The ratio is the median of the ratios within each round, which a drift of the machine's speed leaves alone.
    """

    median: float
    lowest: float
    highest: float
    ratio: float


@dataclass(frozen=True)
class LatencyReport:
    """Latencies by model name, in the order they were given, with what they were measured on."""

    provider: Provider
    batch: int
    rounds: int
    models: Mapping[str, Latency]

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON; all times are in seconds a call."""
        return {
            "provider": self.provider.value,
            "batch": self.batch,
            "rounds": self.rounds,
            "models": {name: asdict(latency) for name, latency in self.models.items()},
        }


def measure_latency(
    models: Mapping[str, Path],
    inputs: Mapping[str, npt.NDArray[Any]],
    *,
    provider: Provider = Provider.CPU,
    rounds: int = 50,
    warmup: int = 5,
    progress: Progress = silent,
) -> LatencyReport:
    """Call every model once a round, in an order that rotates, all with the same inputs as one batch.

    Each model has a session of its own with the runtime's optimizations on; the first ``warmup`` rounds do not count.

    Raises:
        InputError: there is no model or no round, a model cannot be loaded, or does not take the inputs.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be loaded here.
    """
    if not models or rounds < 1 or warmup < 0:
        raise InputError(f"latency: expected models and rounds, found {len(models)} models, {rounds} rounds.")
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(open_session(path, provider, optimized=True)) for name, path in models.items()
        }
        turns = progress(range(warmup + rounds), description=f"latency on {provider}")
        measured = [_round(sessions, inputs, turn) for turn in turns][warmup:]
    batch = max((len(array) for array in inputs.values() if array.ndim), default=1)
    latencies = {name: _summary(name, next(iter(models)), measured) for name in models}
    return LatencyReport(provider, batch, rounds, latencies)


def _round(sessions: Mapping[str, Session], inputs: Mapping[str, npt.NDArray[Any]], turn: int) -> dict[str, float]:
    names = list(sessions)
    start = turn % len(names)
    return {name: _seconds(sessions[name], inputs) for name in names[start:] + names[:start]}


def _seconds(session: Session, inputs: Mapping[str, npt.NDArray[Any]]) -> float:
    begin = time.perf_counter()
    session.run(inputs)
    return time.perf_counter() - begin


def _summary(name: str, first: str, measured: list[dict[str, float]]) -> Latency:
    seconds = [times[name] for times in measured]
    ratio = statistics.median(times[name] / times[first] for times in measured)
    return Latency(statistics.median(seconds), min(seconds), max(seconds), ratio)
