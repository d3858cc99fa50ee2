"""Training: models found by name, a plain loop, run folders that can be resumed and opened.

The names below are imported on first use (PEP 562): ``bnfold.training.models`` lists the built-in models for the
command line's help, which must not wait for torch, and this file is run before it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnfold.training.evaluation import Metrics, evaluate
    from bnfold.training.hyperparameters import Device, Hyperparameters, Keep, Optimizer, Precision, Schedule
    from bnfold.training.loop import TrainResult, train
    from bnfold.training.models import ModelSource, builtin_names, resolve_model
    from bnfold.training.recipes import Recipe
    from bnfold.training.record import Measurement
    from bnfold.training.remeasure import evaluate_as_trained
    from bnfold.training.run import Run, write_run

__all__ = [
    "Device",
    "Hyperparameters",
    "Keep",
    "Measurement",
    "Metrics",
    "ModelSource",
    "Optimizer",
    "Precision",
    "Recipe",
    "Run",
    "Schedule",
    "TrainResult",
    "builtin_names",
    "evaluate",
    "evaluate_as_trained",
    "resolve_model",
    "train",
    "write_run",
]

_HOMES = {
    "evaluation": ("Metrics", "evaluate"),
    "hyperparameters": ("Device", "Hyperparameters", "Keep", "Optimizer", "Precision", "Schedule"),
    "loop": ("TrainResult", "train"),
    "models": ("ModelSource", "builtin_names", "resolve_model"),
    "recipes": ("Recipe",),
    "record": ("Measurement",),
    "remeasure": ("evaluate_as_trained",),
    "run": ("Run", "write_run"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"bnfold.training.{module}"), name)
    raise AttributeError(f"module 'bnfold.training' has no attribute {name!r}")
