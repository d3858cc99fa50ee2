"""From a graph to what a server loads: optimization, operator sets, and the bundle with the evidence."""

from bnfold.bundle.reader import Bundle, read_bundle
from bnfold.export.account import Account, account
from bnfold.export.optimize import optimize
from bnfold.export.precision import Layer, Precision, PrecisionReport, convert_precision, in_double
from bnfold.export.stamp import stamp
from bnfold.export.target import Target, TargetReport, fuse
from bnfold.export.transform import Strategy, Transformed, transform
from bnfold.export.tune import Trial, Tuning, tune
from bnfold.export.writer import write_bundle

__all__ = [
    "Account",
    "Bundle",
    "Layer",
    "Precision",
    "PrecisionReport",
    "Strategy",
    "Target",
    "TargetReport",
    "Transformed",
    "Trial",
    "Tuning",
    "account",
    "convert_precision",
    "fuse",
    "in_double",
    "optimize",
    "read_bundle",
    "stamp",
    "transform",
    "tune",
    "write_bundle",
]
