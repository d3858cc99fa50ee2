"""What a run says of itself: ``run.json``, what it was made of, and ``metrics.jsonl``, what was measured and when.

``run.json``, one object, ``schema`` "bnfold.run/1":

- ``finished``; ``metrics``: the `Measurement` of the weights that were kept, null before the end; ``steps``: planned;
- ``model``: ``spec``, ``kind``, ``factory``, ``args``, ``path``, ``sha256``;
- ``data``: ``spec``, ``sha256`` of its file if it is code, ``samples`` and ``digest`` by split, ``channels``: mean and
  standard deviation of the training split for each channel of each input (N, C, …) of floats;
- ``weights``: null, or ``path`` and ``sha256`` of those that the training began with;
- ``inputs``: ``shape`` of one sample and ``dtype`` by name; ``hyperparameters``; ``functions``: SHA-256 of the files of
  losses and metrics that the user wrote; ``versions``, ``machine``, ``threads``, ``processes``, ``command`` and
  ``started``.

``metrics.jsonl``: one `Measurement` a line, its fields as keys, steps ascending, from the first line on; fields may be
added, none is renamed or taken away.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import bnfold
from bnfold.data.dataset import Dataset
from bnfold.data.load import absolute_spec, factory_file
from bnfold.data.split import Split
from bnfold.data.statistics import channel_statistics
from bnfold.errors import InputError
from bnfold.files import atomic_file, require_directory, sha256
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.models import ModelSource

SCHEMA = "bnfold.run/1"
FILE = "run.json"
Record = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One line of ``metrics.jsonl``, taken at the end of an epoch, every so many steps, or at the end of the training.

    Attributes:
        step: updates done.
        epoch: passes over the data done.
        learning_rate: of the last update.
        train_loss: mean over the minibatches since the measurement before; nats for the cross-entropy; None before the
            first update.
        test_loss: mean over the test split.
        test_accuracy: part of the test split, in [0, 1]; None where it is not among the metrics.
        seconds: of training and measuring so far, over all processes that took part one after the other.
        metrics: all metrics by name, accuracy included.
        population: ``loss`` and the metrics with recomputed population statistics; None unless asked for.
        samples_per_second: trained on since the measurement before, measuring left out.
    """

    step: int
    epoch: float
    learning_rate: float
    train_loss: float | None
    test_loss: float
    test_accuracy: float | None
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    population: dict[str, float] | None = None
    samples_per_second: float | None = None


# What the readers of a record rely on; everything else in it is for people.
_TEXTS = (("model", "spec"), ("model", "kind"), ("model", "factory"), ("data", "spec"))
_MAPPINGS = ("model", "data", "inputs", "hyperparameters")


def make_record(
    source: ModelSource,
    data_spec: str,
    settings: Hyperparameters,
    splits: Mapping[Split, Dataset],
    total_steps: int,
    *,
    functions: Mapping[str, str | None] | None = None,
    weights: Path | None = None,
    processes: int = 1,
    device: torch.device | None = None,
) -> Record:
    """Return the record of a run that is about to start.

    Args:
        source: the network.
        data_spec: what the user wrote.
        settings: the hyperparameters.
        splits: the data.
        total_steps: planned.
        functions: SHA-256 of the files of the user's losses and metrics, by what the user wrote.
        weights: file of the initial weights.
        processes: that train together.
        device: that is trained on.
    """
    code = factory_file(data_spec)
    inputs = splits[Split.TRAIN].inputs
    return {
        "schema": SCHEMA,
        "finished": False,
        "model": source.to_dict(),
        "data": {
            "spec": absolute_spec(data_spec),
            "sha256": None if code is None else sha256(code),
            "samples": {split.value: len(dataset) for split, dataset in splits.items()},
            "digest": {split.value: dataset.digest() for split, dataset in splits.items()},
            "channels": channel_statistics(splits[Split.TRAIN], least_axes=3),
        },
        "inputs": {name: {"shape": list(x.shape[1:]), "dtype": str(x.dtype)} for name, x in inputs.items()},
        "hyperparameters": settings.to_dict(),
        "functions": dict(functions or {}),
        "weights": None if weights is None else {"path": str(weights.resolve()), "sha256": sha256(weights)},
        "steps": total_steps,
        "metrics": None,
        "versions": _versions(),
        "machine": _machine(device or torch.device("cpu")),
        "processes": processes,
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": torch.get_num_threads(),  # sums are split over them, which shows in their last bits
    }


def write_record(path: Path, record: Mapping[str, object]) -> None:
    """Write a record in place of the one before."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record:
    """Return the record of the run in ``folder``.

    Raises:
        InputError: no such folder, no run in it, or a record that is broken or of another schema.
    """
    path = require_directory(folder) / FILE
    if not path.is_file():
        raise InputError(f"{folder}: not a run folder: it has no {FILE}.")
    try:
        record: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}.") from error
    return _checked(path, record)


def _checked(path: Path, record: object) -> Record:
    found = cast("Record", record) if isinstance(record, dict) else {}
    if found.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema {found.get('schema')!r}, expected {SCHEMA!r}.")
    for key in _MAPPINGS:
        if not isinstance(found.get(key), dict):
            raise InputError(f"{path}: {key!r} is missing or not an object; the record is damaged.")
    for key, name in _TEXTS:
        if not isinstance(found[key].get(name), str):
            raise InputError(f"{path}: {key}.{name} is missing or not text; the record is damaged.")
    return found


def _versions() -> dict[str, str]:
    return {
        "bnfold": bnfold.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _machine(device: torch.device) -> dict[str, object]:
    on_cuda = device.type == "cuda"
    return {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if on_cuda else torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if on_cuda else None,
    }
