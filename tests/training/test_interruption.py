"""Trainings that are told to end."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from bnfold.training.interruption import InterruptedTrainingError, interruptions
from tests.training.tiny import TOTAL, TinyTraining, metrics, weights

T = TypeVar("T")


def signals_at(step: int, number: int) -> object:
    """Return progress that sends this process a signal before a step, as if it came from outside."""

    def tell(items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:
        for place, item in enumerate(items):
            if place == step:
                os.kill(os.getpid(), number)
            yield item

    return tell


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_saves_the_step_in_progress(
    tiny: TinyTraining, tmp_path: Path, whole: Path, number: signal.Signals
) -> None:
    """Neither an epoch's end nor a checkpoint is near: still no step is lost, and no bit of the result changes."""
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(InterruptedTrainingError, match=f"run: step 5 of {TOTAL} is saved; go on with --resume"):
        tiny.train(tmp_path / "run", progress=signals_at(4, number))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert tiny.train(tmp_path / "run", resume=True).resumed_from == 5
    assert weights(tmp_path / "run") == weights(whole)
    assert metrics(tmp_path / "run") == metrics(whole)


def test_a_training_at_its_last_step_ends_whole(tiny: TinyTraining, tmp_path: Path, whole: Path) -> None:
    """There is nothing left to interrupt."""
    tiny.train(tmp_path / "run", progress=signals_at(TOTAL - 1, signal.SIGTERM))
    assert weights(tmp_path / "run") == weights(whole)


def test_a_second_signal_does_not_wait() -> None:
    """The first is held back, the second meets the handler that was there before."""
    with interruptions() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_meet_no_signals() -> None:
    """A training in a thread leaves the handlers alone."""
    found: list[bool] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with interruptions() as interrupted:
            found.extend([interrupted(), signal.getsignal(signal.SIGTERM) is before])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, True]
