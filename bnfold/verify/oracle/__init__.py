"""The float64 oracle: what a graph computes, evaluated outside every runtime under test."""

from bnfold.verify.oracle.evaluator import Oracle
from bnfold.verify.oracle.types import Array, Value
from bnfold.verify.oracle.widening import widened

__all__ = ["Array", "Oracle", "Value", "widened"]
