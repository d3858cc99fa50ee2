"""What happens when a statement about gauges cannot hold."""

from collections.abc import Iterable
from enum import StrEnum

NO_CAUSE = -1
"""The cause of what holds by definition: that the identity is (1, 0)."""

TOLERANCE = 1e-12
"""Relative disagreement at which two float64 results count as the same: some thousand roundings of 1.1e-16 each."""


class Obstacle(StrEnum):
    """What a statement can contradict."""

    SCALE = "scale"
    SIGN = "sign"
    SHIFT = "shift"


class Contradiction(Exception):
    """A statement that cannot hold together with what was stated before.

    Attributes:
        obstacle: which part of the gauge is over-determined.
        causes: who stated what stands in the way, each once.
    """

    def __init__(self, obstacle: Obstacle, causes: Iterable[int]) -> None:
        super().__init__(obstacle)
        self.obstacle = obstacle
        self.causes = tuple(dict.fromkeys(causes))
