"""Latency of several models side by side: interleaved in one process, so that what disturbs one disturbs all."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bnfold.bench.pair import ratios
from bnfold.bench.rounds import interleaved, require_rounds
from bnfold.bench.spread import Spread
from bnfold.progress import Progress, silent
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import open_session


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
    """Call every model once a round, in an order drawn anew, all with the same inputs as one batch.

    Each model has a session of its own with the runtime's optimizations on; the first ``warmup`` rounds do not count.

    Raises:
        InputError: there is no model or no round, a model cannot be loaded, or does not take the inputs.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be loaded here.
    """
    require_rounds(rounds, warmup, models=len(models))
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(open_session(path, provider, optimized=True)) for name, path in models.items()
        }
        calls = {name: partial(session.run, inputs) for name, session in sessions.items()}
        measured = interleaved(
            calls, rounds=rounds, warmup=warmup, progress=progress, description=f"latency on {provider}"
        )
    first = measured[next(iter(models))]
    latencies = {name: _summary(seconds, first) for name, seconds in measured.items()}
    return LatencyReport(provider, batch_size(inputs), rounds, latencies)


def batch_size(inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    """Return the number of samples in ``inputs``, counted along their leading axes."""
    return max((len(array) for array in inputs.values() if array.ndim), default=1)


def _summary(seconds: list[float], first: list[float]) -> Latency:
    times = Spread.of(seconds)
    return Latency(times.median, times.lowest, times.highest, ratios(seconds, first).median)
