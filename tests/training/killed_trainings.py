"""Kills trainings at many moments and resumes them: run as a program by ``test_killed.py``.

One process imports torch, then forks once for each training, so that dozens of real processes are cheap. Moments are

- ``step N``: from outside, when the training has taken N steps;
- ``file N``: right before the Nth time that it opens, renames, makes or removes something, so that every state that the
  files can be in is met.

Prints a JSON object: for each moment the signal that ended the training, and the hash of the weights after resuming.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from tests.training.tiny import TinyTraining, weights

T = TypeVar("T")

CHECKPOINT_EVERY = 3
_FILE_EVENTS = ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove")


def main() -> None:
    """Try all moments given as arguments, behind the working folder, the model file and the built-ins' folder."""
    torch.set_num_threads(1)  # a forked process must not inherit threads
    place, file, builtins, *moments = sys.argv[1:]
    tiny = TinyTraining(Path(file), Path(builtins))
    tiny.train(Path(place) / "warm", settings={"steps": 1})  # what is imported late is imported in the parent
    results = {moment: _try(tiny, Path(place) / f"run {moment}", moment) for moment in moments}
    print(json.dumps(results))  # noqa: T201  (a program)


def _try(tiny: TinyTraining, folder: Path, moment: str) -> dict[str, object]:
    kind, number = moment.split()
    if kind == "step":
        status = _killed_from_outside(tiny, folder, int(number))
    else:
        status = _forked(lambda: _train_until_file_event(tiny, folder, int(number)))
    left = sorted(path.name for path in folder.glob("*")) if folder.exists() else []
    resumed = _forked(lambda: tiny.train(folder, resume=True, checkpoint_every=CHECKPOINT_EVERY))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {
        "killed": status,
        "left": left,
        "resumed": resumed,
        "weights": weights(folder),
        "measured": [json.loads(line)["step"] for line in lines],
        "hidden": [path.name for path in folder.glob(".*")],
    }


def _forked(work: Callable[[], object]) -> int:
    """Return how a process of its own that does ``work`` ends: 0, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed_from_outside(tiny: TinyTraining, folder: Path, step: int) -> int:
    """Kill a training when it says that it is about to take step number ``step``."""
    reader, writer = os.pipe()

    def tell(items: Iterable[T], *, description: str, total: int | None = None, samples: object = None) -> Iterator[T]:
        for number, item in enumerate(items):
            os.write(writer, bytes([number]))
            yield item

    child = os.fork()
    if child == 0:
        tiny.train(folder, checkpoint_every=CHECKPOINT_EVERY, progress=tell)
        os._exit(0)
    os.close(writer)
    while (told := os.read(reader, 1)) and told[0] < step:
        pass
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _train_until_file_event(tiny: TinyTraining, folder: Path, number: int) -> None:
    """Train, and kill this process right before it touches the run's files for the ``number``th time."""
    count = 0

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in _FILE_EVENTS and str(folder.name) in str(arguments[0]):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    tiny.train(folder, checkpoint_every=CHECKPOINT_EVERY)


if __name__ == "__main__":
    main()
