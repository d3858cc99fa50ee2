"""Equivalence of two ONNX graphs as an assertion, for the tests of who changes them; with pytest, as a fixture.

Importing this package loads nothing heavy: what a verification needs is imported by the first one.
"""

from bnfold.testing.equivalence import Model, NotEquivalentError, assert_equivalent

__all__ = ["Model", "NotEquivalentError", "assert_equivalent"]
