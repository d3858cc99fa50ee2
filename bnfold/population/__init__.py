"""Population statistics of BN layers: moments, estimators and the pass that recomputes them."""

from bnfold.population.calibrate import calibrate, call_model
from bnfold.population.estimators import Estimator
from bnfold.population.layers import KeptLayer, Reason, is_frozen
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
