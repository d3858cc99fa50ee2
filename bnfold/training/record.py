"""``run.json``: what a run was made of, and whether it is finished."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import bnfold
from bnfold.data.dataset import Dataset
from bnfold.data.load import absolute_spec, factory_file
from bnfold.data.split import Split
from bnfold.errors import InputError
from bnfold.files import atomic_file, require_directory, sha256
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.models import ModelSource

SCHEMA = "bnfold.run/1"
FILE = "run.json"
Record = dict[str, Any]

# What the readers of a record rely on; everything else in it is for people.
_TEXTS = (("model", "spec"), ("model", "kind"), ("model", "factory"), ("data", "spec"))
_MAPPINGS = ("model", "data", "inputs", "hyperparameters")


def make_record(
    source: ModelSource, data_spec: str, settings: Hyperparameters, splits: Mapping[Split, Dataset], total_steps: int
) -> Record:
    """Return the record of a run that is about to start."""
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
        },
        "inputs": {name: {"shape": list(x.shape[1:]), "dtype": str(x.dtype)} for name, x in inputs.items()},
        "hyperparameters": settings.to_dict(),
        "steps": total_steps,
        "metrics": None,
        "versions": _versions(),
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
