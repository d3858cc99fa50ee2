"""A verification report as one HTML page, for people: no script, no network, one file."""

from bnfold.verify.reports.html.page import html

__all__ = ["html"]
