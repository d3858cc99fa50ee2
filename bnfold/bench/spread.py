"""How a measured figure spreads over the rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and range of figures that were measured again and again, in their own unit."""

    lowest: float
    lower_quartile: float
    median: float
    upper_quartile: float
    highest: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Summarize at least one figure; quartiles are interpolated between the figures next to them."""
        if len(figures) == 1:
            return cls(*[figures[0]] * 5)
        lower, median, upper = statistics.quantiles(figures, n=4, method="inclusive")
        return cls(min(figures), lower, median, upper, max(figures))

    @property
    def interquartile(self) -> float:
        """Return the distance between the quartiles, within which half of the figures lie."""
        return self.upper_quartile - self.lower_quartile
