"""A network that draws on every source of randomness, and short trainings of it on the digits."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from bnfold.training import Hyperparameters, TrainResult, resolve_model, train
from bnfold.training.models import ModelSource

T = TypeVar("T")

SOURCE = """
import random

import numpy as np
from torch import nn


class Tiny(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        linear = nn.Linear(64, width, bias=False)
        self.hidden = nn.Sequential(linear, nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        noise = random.gauss(0, 0.1) + np.random.standard_normal() / 10 if self.training else 0.0
        return self.head(self.hidden(images.flatten(1) + noise))


def build(width=12, dropout=0.25):
    return Tiny(width, dropout)
"""

TIMES = ("seconds", "samples_per_second")
BATCH = 200
PER_EPOCH = 1437 // BATCH  # 7
TOTAL = 2 * PER_EPOCH


@dataclasses.dataclass(frozen=True)
class TinyTraining:
    """Trains the tiny model; ``weights`` is the hash of what comes out."""

    file: Path
    builtins: Path

    def source(self, **args: object) -> ModelSource:
        """Return the tiny model with arguments."""
        return resolve_model(f"{self.file}:build", args, self.builtins)

    def train(self, folder: Path, *, settings: dict[str, Any] | None = None, **options: Any) -> TrainResult:
        """Train for two epochs of seven steps, unless told otherwise."""
        values: dict[str, Any] = {"epochs": 2, "batch_size": BATCH, "device": "cpu", **(settings or {})}
        if "steps" in values:
            del values["epochs"]
        return train(self.source(), "digits", Hyperparameters(**values), folder, **options)


def weights(folder: Path) -> str:
    """Return the hash of a run's final weights: equal for equal bits only."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl`` without the times, which no two runs share."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


class Stopped(Exception):
    """Stands for whatever ends a training from outside."""


class StopAt:
    """Progress that counts steps and ends the training before step number ``step`` of this call."""

    def __init__(self, step: int | None = None) -> None:
        self.step, self.seen, self.total = step, 0, -1

    def __call__(
        self,
        items: Iterable[T],
        *,
        description: str,
        total: int | None = None,
        samples: object = None,  # noqa: ARG002  # the protocol's name
    ) -> Iterator[T]:
        """Pass the items on until it is time."""
        assert description == "Training"
        self.total = -1 if total is None else total
        for item in items:
            if self.seen == self.step:
                raise Stopped
            self.seen += 1
            yield item
