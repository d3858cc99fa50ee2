"""Time of a training: in all, over the processes that took part one after the other, and the rate of its updates."""

import time


class Stopwatch:
    """Counts seconds from those that were spent before, and samples since the last lap."""

    def __init__(self, spent: float) -> None:
        self._started = time.monotonic() - spent
        self.start_lap()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._started

    def count(self, samples: int) -> None:
        """Add samples to the lap."""
        self._samples += samples

    def lap(self) -> float | None:
        """Return samples a second since the lap began; None if there were none, or no time has passed."""
        passed = time.monotonic() - self._lap_started
        return self._samples / passed if passed > 0 and self._samples else None

    def start_lap(self) -> None:
        """Begin a new lap."""
        self._lap_started, self._samples = time.monotonic(), 0
