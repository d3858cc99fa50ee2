"""Trainings over two processes: run as a program by ``test_replicated.py``, prints a JSON object.

- ``together``: by two from start to end; ``left``: the same, then taken up by one process;
- ``joined``: begun by one process, taken up by two;
- ``killed``: the second process is killed in the middle, then both go on; ``whole``: the same, not interrupted.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bnfold.errors import BnfoldError
from bnfold.training import Hyperparameters, TrainResult, resolve_model, train
from bnfold.training.session import Session
from bnfold.training.shares import Share
from tests.replicas import replicate
from tests.training.tiny import TinyTraining

KILLED_AT = 5
NETWORK = """
from torch import nn

from bnfold.data import Dataset, Split, load_data


def build():
    first = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
    head = nn.Flatten(), nn.Linear(4 * 6 * 6, 10, bias=False), nn.BatchNorm1d(10)
    return nn.Sequential(*first, *head).double()


def data(split):
    digits = load_data("digits", Split(split))
    return Dataset("digits in float64", {"x": digits.inputs["images"].astype("float64")}, digits.labels)
"""
"""In float64, so that what is not rounding shows."""
SETTINGS: dict[str, Any] = {
    "steps": 6,
    "batch_size": 61,
    "accumulate": 2,
    "augment": ["crop:1"],
    "learning_rate": 0.05,
    "evaluate_every": 2,
    "population_statistics": True,
    "metrics": ["accuracy", "mean-iou"],
    "device": "cpu",
}
"""A minibatch that two processes cannot share equally, in parts that are not equal either."""


def main() -> None:
    """Run everything in the folder given first, with the tiny model's file and the built-ins' folder behind it."""
    torch.set_num_threads(1)
    place, file, builtins = map(Path, sys.argv[1:])
    tiny = TinyTraining(file, builtins)

    def plain(name: str, steps: int, rank: int, *, resume: bool = False) -> dict[str, Any]:
        return _told(lambda: train_plain(place, name, resume=resume, steps=steps).history, rank)

    def dropout(name: str, rank: int, *, killed: bool = False, resume: bool = False) -> dict[str, Any]:
        if killed and rank == 1:
            _die_at(KILLED_AT)
        return _told(lambda: tiny.train(place / name, resume=resume, checkpoint_every=3).history, rank)

    train_plain(place, "warm", steps=2)  # what is imported late is imported in the parent
    together = replicate(2, place / "a", lambda rank: plain("together", 4, rank))
    shutil.copytree(place / "together", place / "left")
    results = {
        "together": together,
        "left": replicate(1, place / "b", lambda rank: plain("left", 6, rank, resume=True)),
        "one first": replicate(1, place / "c", lambda rank: plain("joined", 2, rank)),
        "joined": replicate(2, place / "d", lambda rank: plain("joined", 6, rank, resume=True)),
        "whole": replicate(2, place / "f", lambda rank: dropout("whole", rank)),
        "killed": replicate(2, place / "g", lambda rank: dropout("killed", rank, killed=True)),
        "resumed": replicate(2, place / "h", lambda rank: dropout("killed", rank, resume=True)),
    }
    print(json.dumps(results))  # noqa: T201  (a program)


def train_plain(place: Path, name: str, *, resume: bool = False, **options: Any) -> TrainResult:
    """Train the network above, whose file is in ``place``."""
    source = resolve_model(f"{place / 'net.py'}:build", {}, place)
    settings = Hyperparameters(**{**SETTINGS, **options})
    return train(source, f"{place / 'net.py'}:data", settings, place / name, resume=resume)


def _told(work: Any, rank: int) -> dict[str, Any]:
    try:
        return {"rank": rank, "steps": [line.step for line in work()]}
    except BnfoldError as error:
        return {"rank": rank, "error": type(error).__name__, "message": str(error)}


def _die_at(step: int) -> None:
    """Have this process killed when it is about to take a step."""
    update = Session.update

    def dying(self: Session, shares: Sequence[Share], rate: float) -> float:
        if self.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(self, shares, rate)

    Session.update = dying


if __name__ == "__main__":
    main()
