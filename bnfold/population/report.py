"""What a calibration did: the statistics of every layer before and after, and what was left alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnfold.population.estimators import Estimator
from bnfold.population.layers import KeptLayer
from bnfold.population.moments import frozen_array


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """A BN layer's statistics before and after, each (C,) in float64 before rounding to the buffer's own type.

    ``count`` is the number of values per channel that the new ones come from, 0 where nothing was recomputed;
    variances are unbiased, ``eps`` is the layer's ε in units of variance.
    """

    name: str
    count: int
    eps: float
    old_mean: NDArray[np.float64]
    old_variance: NDArray[np.float64]
    new_mean: NDArray[np.float64]
    new_variance: NDArray[np.float64]

    def __post_init__(self) -> None:
        for field in ("old_mean", "old_variance", "new_mean", "new_variance"):
            object.__setattr__(self, field, frozen_array(getattr(self, field)))

    @property
    def mean_shift(self) -> float:
        """Largest ``|new − old mean| / √(new variance + ε)`` of a channel: how far its output moved, before γ."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.max(np.abs(self.new_mean - self.old_mean) / np.sqrt(self.new_variance + self.eps)))

    @property
    def variance_ratio(self) -> float:
        """Largest factor, at least 1, by which ``variance + ε`` of a channel grew or shrank."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (self.new_variance + self.eps) / (self.old_variance + self.eps)
            return float(np.max(np.maximum(ratio, 1 / ratio)))

    def to_dict(self) -> dict[str, object]:
        """Return a summary for JSON; a figure that old statistics made infinite or undefined is None."""
        return {
            "name": self.name,
            "count": self.count,
            "channels": self.new_mean.size,
            "mean_shift": _finite(self.mean_shift),
            "variance_ratio": _finite(self.variance_ratio),
        }


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """What ``calibrate`` did: how many samples in how many batches went into which layers, in the model's order.

    ``kept`` are the BN layers that were left alone; ``notes`` says so in words, along with all else a user should know.
    """

    estimator: Estimator
    samples: int
    batches: int
    layers: tuple[LayerStatistics, ...]
    kept: tuple[KeptLayer, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the report for JSON: a summary of each layer, without the statistics themselves."""
        return {
            "estimator": self.estimator.value,
            "samples": self.samples,
            "batches": self.batches,
            "layers": [layer.to_dict() for layer in self.layers],
            "kept": [{"name": layer.name, "reason": layer.reason.value} for layer in self.kept],
            "notes": list(self.notes),
        }


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
