"""Reports as documents: read back from files, checked, and looked at the same way by all that show them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnfold.errors import InputError
from bnfold.files import require_file
from bnfold.json_text import strict_json
from bnfold.verify.reports.schema import Kind, violations

Document = Mapping[str, Any]
"""A verification report as JSON has it, of the schema ``verification-1``."""


def read_report(path: Path, kind: Kind = Kind.VERIFICATION) -> Document:
    """Return the report that is in a file.

    Raises:
        InputError: no such file, not JSON, a report of another kind or version, or one that its schema does not allow.
    """
    try:
        document = strict_json(require_file(path).read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise InputError(f"{path}: not a JSON report: {error}.") from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != kind.value:
        told = f"found schema {found!r}" if found is not None else "found no schema"
        raise InputError(f"{path}: expected a report of schema {kind.value}, {told}{_remedy(found, kind)}")
    problem = next(violations(document, kind), None)
    if problem is not None:
        raise InputError(f"{path}: not a report of schema {kind.value}: {problem}.")
    return document


def _remedy(found: object, kind: Kind) -> str:
    family = kind.value.rpartition("/")[0]
    if isinstance(found, str) and found.startswith(f"{family}/"):
        return "; read it with the version of bnfold that wrote it, or write it again with this one."
    return "; bnfold verify writes one with --report FILE.json." if kind is Kind.VERIFICATION else "."
