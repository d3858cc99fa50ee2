"""A logarithmic axis: errors are told apart by their powers of ten."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

_TICKS = 7
"""Labels on an axis, at most, on a page as narrow as a phone."""

_LAST = 308
"""The largest decade of a double; what lies within it is drawn at the very end."""


@dataclass(frozen=True)
class LogAxis:
    """Decades from 10^first to 10^last, drawn from 0 to 100 percent."""

    first: int
    last: int

    @classmethod
    def over(cls, values: Iterable[float | None]) -> "LogAxis | None":
        """Return the axis whose whole decades hold all positive values; None where there is none."""
        decades = [log10(value) for value in values if value is not None and value > 0]
        if not decades:
            return None
        first = min(floor(min(decades)), _LAST - 1)
        return cls(first, min(max(ceil(max(decades)), first + 1), _LAST))

    def place(self, value: float) -> float:
        """Return where ``value`` is, in percent; 0 and less are at the very start."""
        if value <= 0:
            return 0.0
        return round(min(100.0, 100 * (log10(value) - self.first) / (self.last - self.first)), 3)

    def ticks(self) -> list[int]:
        """Return the exponents to label."""
        step = ceil((self.last - self.first) / (_TICKS - 1))
        return list(range(self.first, self.last + 1, step))


def power(exponent: int) -> str:
    """Return 10 to ``exponent`` as people write it."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
