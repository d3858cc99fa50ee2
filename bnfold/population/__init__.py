"""Population statistics of BN layers: moments, estimators and the pass that recomputes them.

The names below are imported on first use (PEP 562): ``bnfold.population_onnx`` counts with the same estimators and must
not import torch, and this file is run before those.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnfold.population.arguments import call_model
    from bnfold.population.calibrate import calibrate
    from bnfold.population.estimators import Estimator
    from bnfold.population.kept import KeptLayer, Reason
    from bnfold.population.layers import is_frozen
    from bnfold.population.moments import Moments
    from bnfold.population.report import CalibrationReport, LayerStatistics

__all__ = [
    "CalibrationReport",
    "Estimator",
    "KeptLayer",
    "LayerStatistics",
    "Moments",
    "Reason",
    "calibrate",
    "call_model",
    "is_frozen",
]

_HOMES = {
    "arguments": ("call_model",),
    "calibrate": ("calibrate",),
    "estimators": ("Estimator",),
    "kept": ("KeptLayer", "Reason"),
    "layers": ("is_frozen",),
    "moments": ("Moments",),
    "report": ("CalibrationReport", "LayerStatistics"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"bnfold.population.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'bnfold.population' has no attribute {name!r}")
