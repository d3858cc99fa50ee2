"""Batch Normalization from training to deployment.

`fold` removes the normalizations of an ONNX graph or a torch module exactly; `export_bundle` writes what a server
loads; `capture` makes a graph of a torch module; `calibrate` recomputes population statistics of a torch model; the
subpackages hold the rest. Names below load on first use, so that `import bnfold` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnfold.entry import export_bundle, fold, inspect
    from bnfold.errors import AttestationError, BnfoldError, InputError, MissingDependencyError
    from bnfold.folding import FoldReport
    from bnfold.graph import load, save
    from bnfold.graph.capture import capture
    from bnfold.modules import fold_module
    from bnfold.population import Estimator, calibrate

__version__ = "0.1.0"

_HOMES = {
    "AttestationError": "bnfold.errors",
    "BnfoldError": "bnfold.errors",
    "Estimator": "bnfold.population",
    "FoldReport": "bnfold.folding",
    "InputError": "bnfold.errors",
    "MissingDependencyError": "bnfold.errors",
    "calibrate": "bnfold.population",
    "capture": "bnfold.graph.capture",
    "export_bundle": "bnfold.entry",
    "fold": "bnfold.entry",
    "fold_module": "bnfold.modules",
    "inspect": "bnfold.entry",
    "load": "bnfold.graph",
    "save": "bnfold.graph",
}

__all__ = [
    "AttestationError",
    "BnfoldError",
    "Estimator",
    "FoldReport",
    "InputError",
    "MissingDependencyError",
    "__version__",
    "calibrate",
    "capture",
    "export_bundle",
    "fold",
    "fold_module",
    "inspect",
    "load",
    "save",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'bnfold' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
