"""From a graph to what a server loads: optimization, operator sets, and the bundle with the evidence."""

from bnfold.bundle.reader import Bundle, read_bundle
from bnfold.export.optimize import optimize
from bnfold.export.stamp import stamp
from bnfold.export.writer import write_bundle

__all__ = ["Bundle", "optimize", "read_bundle", "stamp", "write_bundle"]
