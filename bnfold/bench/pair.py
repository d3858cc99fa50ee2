"""Two models compared round by round, and whether the machine was quiet enough to tell them apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bnfold.bench.spread import Spread


class Difference(StrEnum):
    """What can be said of a model beside another one."""

    FASTER = "faster"
    SLOWER = "slower"
    UNCLEAR = "cannot-tell"


@dataclass(frozen=True)
class Pair:
    """A model's time over another's, as ratios within each round, which a drift of the machine leaves alone.

    Attributes:
        model: whose time is divided.
        over: by whose it is divided.
        ratio: of the two, over the rounds.
        control: the ratio of the run's first model to itself, measured in the same rounds through a second session.
    """

    model: str
    over: str
    ratio: Spread
    control: Spread

    @property
    def difference(self) -> Difference:
        """Return which of the two is faster, if that can be told.

        It cannot

        1. where the interquartile range of the ratios contains 1: in a quarter of the rounds or more it is the other
           one that is faster; or
        2. where the interquartile range of the control is wider than the ratio's distance from 1: a model differs as
           much from itself.
        """
        if self.ratio.lower_quartile <= 1 <= self.ratio.upper_quartile:
            return Difference.UNCLEAR
        if self.control.interquartile > abs(self.ratio.median - 1):
            return Difference.UNCLEAR
        return Difference.FASTER if self.ratio.median < 1 else Difference.SLOWER

    @property
    def words(self) -> str:
        """Return the finding as a sentence."""
        ratio, control = self.ratio, self.control
        found = f"{ratio.median:.3f} ({ratio.lower_quartile:.3f} – {ratio.upper_quartile:.3f})"
        if self.difference is not Difference.UNCLEAR:
            return f"{self.model} is {self.difference} than {self.over}: {found}."
        itself = f"{control.median:.3f} ({control.lower_quartile:.3f} – {control.upper_quartile:.3f})"
        return f"{self.model} over {self.over}: too noisy to tell, {found}; the first model over itself {itself}."


def ratios(seconds: Sequence[float], over: Sequence[float]) -> Spread:
    """Return the spread of the ratios of two series, round by round."""
    return Spread.of([one / other for one, other in zip(seconds, over, strict=True)])
