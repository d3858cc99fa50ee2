"""Measurements as TensorBoard reads them: scalars in an event file of the run folder."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bnfold.errors import MissingDependencyError
from bnfold.training.record import Measurement

FOLDER = "tensorboard"


class Board:
    """Takes measurements; ``writer`` None takes them nowhere."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def add(self, measurement: Measurement) -> None:
        """Write a measurement at its step, for readers that look on."""
        if self._writer is None:
            return
        for tag, value in scalars(measurement).items():
            self._writer.add_scalar(tag, value, measurement.step)
        self._writer.flush()


def scalars(measurement: Measurement) -> dict[str, float]:
    """Return what a measurement says, by TensorBoard's tags; what was not measured has none."""
    found: dict[str, float | None] = {
        "loss/train": measurement.train_loss,
        "loss/test": measurement.test_loss,
        **{f"metric/{name}": value for name, value in measurement.metrics.items()},
        **{f"population/{name}": value for name, value in (measurement.population or {}).items()},
        "learning_rate": measurement.learning_rate,
        "samples_per_second": measurement.samples_per_second,
    }
    return {tag: value for tag, value in found.items() if value is not None}


def require_tensorboard() -> None:
    """Check that event files can be written.

    Raises:
        MissingDependencyError: the distribution is not installed.
    """
    if find_spec("tensorboard") is None:
        raise MissingDependencyError(
            "tensorboard: is not installed; run pip install 'bnfold[tensorboard]'. metrics.jsonl has the same figures."
        )


@contextmanager
def board(folder: Path, *, wanted: bool, step: int) -> Generator[Board]:
    """Open the event file of a training at ``step``; readers drop what an earlier process wrote beyond it."""
    if not wanted:
        yield Board()
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / FOLDER), purge_step=step + 1) as writer:
        yield Board(writer)
