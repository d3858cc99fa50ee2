"""What a bench found: figures by setting, by start and by operator."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bnfold.bench.operators import OperatorTime
from bnfold.bench.pair import Difference, Pair
from bnfold.bench.setting import Mode, Setting
from bnfold.bench.spread import Spread
from bnfold.verify.provider import Provider


@dataclass(frozen=True)
class Measurement:
    """All models in one setting.

    Attributes:
        setting: provider, threads and batch.
        seconds: of a call, by model, in the order they were given.
        control: the time of the first model over its own, through a second session.
        pairs: every two models, the later one over the earlier one.
    """

    setting: Setting
    seconds: Mapping[str, Spread]
    control: Spread
    pairs: tuple[Pair, ...]

    def throughput(self, name: str) -> float:
        """Return the samples a second of a model, at its median time."""
        return self.setting.batch / self.seconds[name].median

    def over_first(self, name: str) -> Pair | None:
        """Return the pair of a model and the first one; None for the first."""
        first = next(iter(self.seconds))
        return next((pair for pair in self.pairs if (pair.model, pair.over) == (name, first)), None)


@dataclass(frozen=True)
class Startup:
    """How a model starts on a provider: seconds to load, seconds of the first call, bytes; each over several processes.

    ``memory`` is None where the system does not tell.
    """

    model: str
    provider: Provider
    load: Spread
    first_call: Spread
    memory: Spread | None


@dataclass(frozen=True)
class Profile:
    """The time by operator of one model in one setting, the longest first."""

    model: str
    setting: Setting
    operators: tuple[OperatorTime, ...]


@dataclass(frozen=True)
class BenchReport:
    """Everything that one run of ``bench`` has measured."""

    models: Mapping[str, Path]
    mode: Mode
    rounds: int
    warmup: int
    measurements: tuple[Measurement, ...]
    startups: tuple[Startup, ...]
    profiles: tuple[Profile, ...]
    environment: Mapping[str, str | None]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each pair that the machine was too noisy to tell apart."""
        return tuple(
            f"{measurement.setting}: {pair.words}"
            for measurement in self.measurements
            for pair in measurement.pairs
            if pair.difference is Difference.UNCLEAR
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON: times in seconds, memory in bytes, ratios as the later model over the earlier."""
        return {
            "models": {name: {"path": str(path), "bytes": path.stat().st_size} for name, path in self.models.items()},
            **asdict(self.mode),
            "rounds": self.rounds,
            "warmup": self.warmup,
            "measurements": [_measurement(measurement) for measurement in self.measurements],
            "startups": [asdict(startup) for startup in self.startups],
            "profiles": [
                {"model": profile.model, **asdict(profile.setting), "operators": [asdict(t) for t in profile.operators]}
                for profile in self.profiles
            ],
            "notes": list(self.notes),
            "environment": dict(self.environment),
        }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    return {
        **asdict(measurement.setting),
        "models": {
            name: {"seconds": asdict(spread), "samples_per_second": measurement.throughput(name)}
            for name, spread in measurement.seconds.items()
        },
        "control": asdict(measurement.control),
        "pairs": [
            {
                "model": pair.model,
                "over": pair.over,
                "ratio": asdict(pair.ratio),
                "difference": pair.difference.value,
            }
            for pair in measurement.pairs
        ],
    }
