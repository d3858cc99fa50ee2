"""Verification reports after the fact: read from files, shown in several forms, judged again, and compared.

Everything here works on the report's JSON form, of the published schema, and runs no model.
"""

from bnfold.verify.reports.difference import Difference, difference
from bnfold.verify.reports.document import read_report
from bnfold.verify.reports.forms import FORMS, report_text, require_form
from bnfold.verify.reports.rejudge import rejudge
from bnfold.verify.reports.schema import Kind, schema, violations

__all__ = [
    "FORMS",
    "Difference",
    "Kind",
    "difference",
    "read_report",
    "rejudge",
    "report_text",
    "require_form",
    "schema",
    "violations",
]
