"""Equivalence of two graphs, judged against a float64 oracle on the runtime that will serve them."""

from bnfold.verify.edge_cases import EdgeCases, edge_cases
from bnfold.verify.equivalence import verify, verify_bundle
from bnfold.verify.oracle import Oracle
from bnfold.verify.provider import Provider
from bnfold.verify.report import VerificationReport
from bnfold.verify.samples import Range, random_inputs
from bnfold.verify.verdict import Finding, Verdict

__all__ = [
    "EdgeCases",
    "Finding",
    "Oracle",
    "Provider",
    "Range",
    "Verdict",
    "VerificationReport",
    "edge_cases",
    "random_inputs",
    "verify",
    "verify_bundle",
]
