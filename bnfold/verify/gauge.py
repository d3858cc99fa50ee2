"""The gauge of one value, measured: stored = s·(v + σ), from the value in the original and in the exact fold."""

from dataclasses import dataclass

import numpy as np

from bnfold.verify.oracle import Array

_PRECISE = 1e-9
"""A relation that holds to this relative error between two evaluations in double is no accident, and no noise."""


_POINTS = 256
"""Points a line is fitted through, about; that more lie on it adds nothing."""


@dataclass(frozen=True)
class Gauge:
    """Smallest and largest scale s and shift σ over the channels of a value."""

    scale: tuple[float, float]
    shift: tuple[float, float]


def measured_gauge(original: Array, stored: Array) -> Gauge | None:
    """Return the gauge by which ``stored`` carries ``original``, both of one shape (N, ...) and in double.

    Along each axis in turn, one line is fitted per index by least squares. None where no axis but the samples' makes
    every point lie on its line: the gauge varies along more than one axis, or there are too few points to tell.
    """
    if original.shape != stored.shape or not original.size:
        return None
    if np.array_equal(original, stored):
        return Gauge((1.0, 1.0), (0.0, 0.0))
    for axis in range(1, original.ndim):
        step = max(1, original.size // original.shape[axis] // _POINTS)
        sides = (np.moveaxis(array, axis, 0).reshape(original.shape[axis], -1) for array in (original, stored))
        x, y = (side[:, ::step] for side in sides)
        gauge = _fitted(x, y)
        if gauge is not None:
            return gauge
    return None


def _fitted(x: Array, y: Array) -> Gauge | None:
    """Return the gauge of channels (C, points); channels that do not vary tell nothing and are left out."""
    if x.shape[1] < 3:  # two points lie on some line always
        return None
    x_mean, y_mean = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    dx, dy = x - x_mean, y - y_mean
    spread = np.square(dx).sum(axis=1)
    varies = spread > (_PRECISE * np.abs(x).max(axis=1)) ** 2 * x.shape[1]
    if not varies.any():
        return None
    dx, dy, spread = dx[varies], dy[varies], spread[varies]
    scale = (dx * dy).sum(axis=1) / spread
    off_line = np.abs(dy - scale[:, None] * dx).max(axis=1)
    if (scale == 0).any() or (off_line > _PRECISE * np.abs(y[varies]).max(axis=1)).any():
        return None
    shift = y_mean[varies, 0] / scale - x_mean[varies, 0]
    return Gauge((float(scale.min()), float(scale.max())), (float(shift.min()), float(shift.max())))
