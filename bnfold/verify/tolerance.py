"""How far two evaluations of one function may lie apart, for no other reason than precision.

Every rounding is, to first order, a small relative error of its own, so errors are proportional to the unit roundoff u
of the arithmetic and independent ones add in quadrature. Three measurements on the graph and the inputs at hand say how
large they are; nothing is assumed about fan-in, depth or conditioning:

    b   the original's own error: its float32 run, unoptimized, against the float64 oracle
    r   the effect of one more rounding of every weight (``rounding``), against the float64 oracle
    y   the outputs themselves, which can only be stored to u·|y|

Folding rounds every weight anew and reorders nothing; the runtime's optimizer and the device reorder the sums. So

    limit = k·(b·u_a/u_b + r·u_s/u_r) + u_a·|y|

with u_a the roundoff of the arithmetic that is judged, u_s that of the weights' storage, u_b and u_r those at which b
and r were measured. The first term is the tolerance of the design, the rest is its floor: where the original happens
to be exact (small integers, powers of two) b is 0, and the roundings that folding cannot avoid are still allowed.

r is measured on the candidate, which must not raise its own tolerance: a graph that a fold has made ill-conditioned
is moved far by roundings of its weights. The original rounds every intermediate result as well as folding rounds every
weight, so r counts only up to k·(b·u_r/u_b + u_r·|y|).

k = 8 = √2·4·√2 covers what the measurements do not contain: √2, the candidate's weights are rounded anew, in quadrature
with its arithmetic; 4, its sums run in another order than the baseline's (the blocked convolutions of ONNX Runtime's
optimizer, run on the *unfolded* graph, have up to 3.5 times the error of the plain ones, for 64 to 1024 channels); √2,
each error is one draw, judged against another. Of 142 random right folds the worst reached 0.7 of the limit. Wrong
algebra is not a matter of such factors: of the faults planted in the tests an ε wrong by a thousandth in one layer of
three is the smallest, and exceeds the limit of the stored graph more than ten times.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnfold.verify.oracle import Array

K = 8.0
"""Factor on measured errors; see above."""


_SQUARABLE = (1e-100, 1e100)
"""Numbers between the two can be squared and summed as they are."""


@dataclass(frozen=True)
class Size:
    """Two norms of an array of errors, in units of the output: root mean square, and largest magnitude.

    The first sees errors everywhere, the second a single wrong element among a million.
    """

    rms: float
    largest: float

    @classmethod
    def of(cls, values: Array) -> "Size":
        """Measure ``values``; an empty array has size 0."""
        if not values.size:
            return cls(0.0, 0.0)
        largest = max(float(values.max()), -float(values.min()))  # of NaN both are NaN
        if not largest or not np.isfinite(largest):
            return cls(largest, largest)
        scale = 1.0 if _SQUARABLE[0] < largest < _SQUARABLE[1] else largest
        flat = values.ravel() if scale == 1.0 else values.ravel() / scale
        return cls(scale * float(np.sqrt(flat @ flat / flat.size)), largest)

    @classmethod
    def of_difference(cls, values: Array, oracle: Array) -> "Size":
        """Measure ``values`` − ``oracle``; where both are infinite the difference is NaN, and so is the size."""
        with np.errstate(invalid="ignore", over="ignore"):
            return cls.of(values - oracle)

    def __mul__(self, factor: float) -> "Size":
        return Size(self.rms * factor, self.largest * factor)

    def __add__(self, other: "Size") -> "Size":
        return Size(self.rms + other.rms, self.largest + other.largest)

    def at_most(self, bound: "Size") -> "Size":
        """Return the smaller of the two, norm by norm."""
        return Size(min(self.rms, bound.rms), min(self.largest, bound.largest))

    def within(self, limit: "Size") -> bool:
        """Say whether neither norm exceeds that of ``limit``; NaN is never within."""
        return self.rms <= limit.rms and self.largest <= limit.largest

    def __truediv__(self, limit: "Size") -> float:
        """Return the larger of the two quotients; 0/0 is 0."""
        pairs = ((self.rms, limit.rms), (self.largest, limit.largest))
        return max(0.0 if not ours else ours / theirs if theirs else np.inf for ours, theirs in pairs)

    @classmethod
    def pooled(cls, sizes: "Sequence[Size]") -> "Size":
        """Return the size of equally many errors of each of ``sizes`` together."""
        if not sizes:
            return cls(0.0, 0.0)
        rms = float(np.sqrt(np.mean([size.rms**2 for size in sizes])))
        return cls(rms, max(size.largest for size in sizes))


@dataclass(frozen=True)
class Tolerance:
    """The limit on an output's error, by its parts: the baseline's error at the judged precision, and the floor."""

    baseline: Size
    floor: Size

    @property
    def limit(self) -> Size:
        """Return k·baseline + floor."""
        return self.baseline * K + self.floor


@dataclass(frozen=True)
class Yardstick:
    """What was measured on one output: ``baseline`` b at roundoff ``u_baseline``, ``rounding`` r at ``u_stored``, y."""

    baseline: Size
    u_baseline: float
    rounding: Size
    u_stored: float
    output: Size

    def tolerance(self, *, arithmetic: float, storage: float) -> Tolerance:
        """Return the tolerance for arithmetic and weight storage of the given unit roundoffs."""
        return Tolerance(
            self.baseline * (arithmetic / self.u_baseline),
            self.rounding * (K * storage / self.u_stored) + self.output * arithmetic,
        )
