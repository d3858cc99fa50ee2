"""How errors are distributed: counts by decade, candidate and baseline side by side."""

from dataclasses import dataclass

import numpy as np

from bnfold.verify.oracle import Array

_PER_DECADE = 2


@dataclass(frozen=True)
class Histogram:
    """Counts of log10|error| between ``edges``; errors of exactly zero are counted apart."""

    edges: tuple[float, ...]
    candidate: tuple[int, ...]
    baseline: tuple[int, ...]
    zeros: dict[str, int]

    @classmethod
    def of(cls, candidate: Array, baseline: Array, oracle: Array) -> "Histogram":
        """Count the errors of both against ``oracle``; what is not finite is left out."""
        with np.errstate(invalid="ignore", over="ignore"):
            errors = {"candidate": np.abs(candidate - oracle).ravel(), "baseline": np.abs(baseline - oracle).ravel()}
        zeros = {name: int((values == 0).sum()) for name, values in errors.items()}
        logs = {name: np.log10(values[(values > 0) & np.isfinite(values)]) for name, values in errors.items()}
        found = np.concatenate(list(logs.values()))
        if not found.size:
            return cls((), (), (), zeros)
        first, last = np.floor(found.min() * _PER_DECADE), np.floor(found.max() * _PER_DECADE) + 1
        edges = np.arange(first, last + 1) / _PER_DECADE
        counts = {name: tuple(np.histogram(values, edges)[0].tolist()) for name, values in logs.items()}
        return cls(tuple(edges.tolist()), counts["candidate"], counts["baseline"], zeros)
