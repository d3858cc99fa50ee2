"""Trainings over two processes: run as a program by ``test_replicated.py``, prints a JSON object.

- ``together``: by two from start to end; ``left``: the same, then taken up by one process;
- ``joined``: begun by one process, taken up by two;
- ``masks``: the built-in ``instance-masks`` by two;
- ``killed``: the second process is killed in the middle, then both go on; ``whole``: the same, not interrupted;
- ``terminated``: likewise, but the second process is told to end by SIGTERM.
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
from bnfold.training import Device, Hyperparameters, TrainResult, resolve_model, train
from bnfold.training.interruption import InterruptedTrainingError
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
MASKS = """
from bnfold.data import Dataset, Split, load_data
from bnfold.training import resolve_model
from bnfold_cli.samples import builtin_models

network = resolve_model("instance-masks", {"width": 4, "prototypes": 4}, builtin_models())
loss = network.member("mask_loss")


def build():
    return network.build().double()


def data(split):
    scattered = load_data("scattered-masks", Split(split)).take(24)
    images = scattered.inputs["images"].astype("float64")
    return Dataset("masks in float64", {"images": images}, scattered.labels.astype("float64"))
"""
"""A loss whose images have different numbers of objects, likewise."""
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

    def dropout(name: str, rank: int, *, ends_by: signal.Signals | None = None, resume: bool = False) -> dict[str, Any]:
        if ends_by is not None and rank == 1:
            _end_at(KILLED_AT, ends_by)
        return _told(lambda: tiny.train(place / name, resume=resume, checkpoint_every=3).history, rank)

    def masks(rank: int) -> dict[str, Any]:
        return _told(lambda: train_masks(place, "masks").history, rank)

    train_plain(place, "warm", steps=2)  # what is imported late is imported in the parent
    together = replicate(2, place / "a", lambda rank: plain("together", 4, rank))
    shutil.copytree(place / "together", place / "left")
    results = {
        "together": together,
        "left": replicate(1, place / "b", lambda rank: plain("left", 6, rank, resume=True)),
        "one first": replicate(1, place / "c", lambda rank: plain("joined", 2, rank)),
        "joined": replicate(2, place / "d", lambda rank: plain("joined", 6, rank, resume=True)),
        "masks": replicate(2, place / "e", masks),
        "whole": replicate(2, place / "f", lambda rank: dropout("whole", rank)),
        "killed": replicate(2, place / "g", lambda rank: dropout("killed", rank, ends_by=signal.SIGKILL)),
        "resumed": replicate(2, place / "h", lambda rank: dropout("killed", rank, resume=True)),
        "terminated": replicate(2, place / "i", lambda rank: dropout("terminated", rank, ends_by=signal.SIGTERM)),
        "taken up": replicate(2, place / "j", lambda rank: dropout("terminated", rank, resume=True)),
    }
    print(json.dumps(results))  # noqa: T201  (a program)


def train_plain(place: Path, name: str, *, resume: bool = False, **options: Any) -> TrainResult:
    """Train the network above, whose file is in ``place``."""
    source = resolve_model(f"{place / 'net.py'}:build", {}, place)
    settings = Hyperparameters(**{**SETTINGS, **options})
    return train(source, f"{place / 'net.py'}:data", settings, place / name, resume=resume)


def train_masks(place: Path, name: str) -> TrainResult:
    """Train ``instance-masks``, its file in ``place``, in parts of 3 and 2 samples, two processes of 2, 1, 1, 1."""
    source = resolve_model(f"{place / 'masks.py'}:build", {}, place)
    settings: dict[str, Any] = {"steps": 3, "batch_size": 5, "accumulate": 2, "loss": ":loss", "metrics": []}
    return train(source, f"{place / 'masks.py'}:data", Hyperparameters(**settings, device=Device.CPU), place / name)


def _told(work: Any, rank: int) -> dict[str, Any]:
    try:
        return {"rank": rank, "steps": [line.step for line in work()]}
    except (BnfoldError, InterruptedTrainingError) as error:
        return {"rank": rank, "error": type(error).__name__, "message": str(error)}


def _end_at(step: int, number: signal.Signals) -> None:
    """Send this process a signal when it is about to take a step."""
    update = Session.update

    def ending(self: Session, shares: Sequence[Share], rate: float) -> float:
        if self.step == step:
            os.kill(os.getpid(), number)
        return update(self, shares, rate)

    Session.update = ending


if __name__ == "__main__":
    main()
