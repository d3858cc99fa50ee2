"""What a calibration did: the statistics of every layer before and after, and what was left alone."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bnfold.population.estimators import Estimator, Pooled
from bnfold.population.findings import Findings
from bnfold.population.kept import KeptLayer
from bnfold.population.moments import frozen_array

Array = NDArray[np.float64]

UNDERSAMPLED: Final = 0.1
"""Relative error above which a channel is named, where the user sets no goal: its scale is then off by a twentieth."""

NOT_RECOMPUTED: Final = "Nothing was recomputed: the statistics are those that training tracked."
NO_LAYERS: Final = "Nothing was recomputed: the model has no BN layer to calibrate."

_NAMED: Final = 8
"""Channels of a layer that a note names; the JSON report has all."""

_TOLD: Final = 5
"""Layers with such channels that have a note of their own."""


def relative_error(variance: Array, eps: float, mean_error: Array, variance_error: Array) -> Array:
    """Return how far sampling may have put the output of each channel (C,) off, before γ and β.

    ::

        max(SE(mean)/√(variance + ε), SE(variance)/(variance + ε))

    The first term is the standard error of the normalized value's offset, in units of its own standard deviation, the
    second twice that of its scale. 0 for a channel that is constant.
    """
    spread = variance + eps
    known = (mean_error == 0) & (variance_error == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.maximum(mean_error / np.sqrt(spread), variance_error / spread)
    return np.where(known, 0.0, errors)


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """A BN layer's statistics before and after, each (C,) in float64 before rounding to the buffer's own type.

    ``count`` is the number of values per channel that the new ones come from, 0 where nothing was recomputed;
    variances are unbiased, ``eps`` is the layer's ε in units of variance. ``mean_error`` and ``variance_error`` are the
    standard errors of the new ones, None where nothing was recomputed; they take the layers below as given.
    """

    name: str
    count: int
    eps: float
    old_mean: NDArray[np.float64]
    old_variance: NDArray[np.float64]
    new_mean: NDArray[np.float64]
    new_variance: NDArray[np.float64]
    mean_error: NDArray[np.float64] | None = None
    variance_error: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("old_mean", "old_variance", "new_mean", "new_variance", "mean_error", "variance_error"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen_array(getattr(self, name)))

    @classmethod
    def of(cls, name: str, eps: float, old_mean: Array, old_variance: Array, estimate: Pooled) -> "LayerStatistics":
        """Return the statistics of a layer that was measured."""
        new, errors = (estimate.mean, estimate.variance), estimate.standard_errors()
        return cls(name, estimate.count, eps, old_mean, old_variance, *new, *errors)

    @property
    def relative_error(self) -> Array | None:
        """`relative_error` of every channel (C,); None where nothing was recomputed."""
        if self.mean_error is None or self.variance_error is None:
            return None
        return relative_error(self.new_variance, self.eps, self.mean_error, self.variance_error)

    def undersampled(self, limit: float) -> list[int]:
        """Return the channels whose relative error is above ``limit``."""
        errors = self.relative_error
        return [] if errors is None else [int(channel) for channel in np.flatnonzero(errors > limit)]

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
            "relative_error": None if self.relative_error is None else _finite(float(self.relative_error.max())),
        }

    def arrays(self) -> dict[str, object]:
        """Return the statistics of every channel for JSON; what is not finite is None."""
        arrays = {
            "old_mean": self.old_mean,
            "old_variance": self.old_variance,
            "new_mean": self.new_mean,
            "new_variance": self.new_variance,
            "mean_standard_error": self.mean_error,
            "variance_standard_error": self.variance_error,
        }
        return {key: None if a is None else [_finite(x) for x in a.tolist()] for key, a in arrays.items()}


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """What ``calibrate`` did: how many samples in how many batches went into which layers, in the model's order.

    ``kept`` are the BN layers that were left alone. ``undersampled`` are the channels, by layer, that had too few
    samples for the goal, or for `UNDERSAMPLED` where there was none. ``notes`` says so in words, along with all else a
    user should know.
    """

    estimator: Estimator
    samples: int
    batches: int
    layers: tuple[LayerStatistics, ...]
    kept: tuple[KeptLayer, ...]
    notes: tuple[str, ...]
    undersampled: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    @classmethod
    def of(
        cls,
        estimator: Estimator,
        findings: Findings,
        layers: tuple[LayerStatistics, ...],
        kept: tuple[KeptLayer, ...],
        goal: float | None,
    ) -> "CalibrationReport":
        """Return the report of what a pass found; ``goal`` is the relative error that the user asked for."""
        limit = UNDERSAMPLED if goal is None else goal
        channels = {layer.name: layer.undersampled(limit) for layer in layers}
        undersampled = {name: found for name, found in channels.items() if found}
        told = [_undersampled_note(layer, channels[layer.name], limit) for layer in layers if channels[layer.name]]
        more = len(told) - _TOLD
        if more > 0:
            are = "layers are" if more > 1 else "layer is"
            told[_TOLD:] = [f"{more} more BN {are} undersampled too; the report names the channels. Use more samples."]
        notes = (*findings.notes, *told, *map(str, kept))
        return cls(estimator, findings.samples, findings.batches, layers, kept, notes, undersampled)

    def to_dict(self) -> dict[str, object]:
        """Return the report for JSON: a summary of each layer, without the statistics themselves."""
        return {
            "estimator": self.estimator.value,
            "samples": self.samples,
            "batches": self.batches,
            "layers": [layer.to_dict() for layer in self.layers],
            "kept": [{"name": layer.name, "reason": layer.reason.value} for layer in self.kept],
            "undersampled": self.undersampled,
            "notes": list(self.notes),
        }


def _undersampled_note(layer: LayerStatistics, channels: list[int], limit: float) -> str:
    named = ", ".join(map(str, channels[:_NAMED])) + (", …" if len(channels) > _NAMED else "")
    of = f"{len(channels)} of {layer.new_mean.size} channels"
    return f"BN layer {layer.name}: {of} are undersampled (relative error above {limit:g}): {named}."


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
