import json
from pathlib import Path

import pytest

from bnfold.errors import InputError
from bnfold.json_text import json_text
from bnfold.verify.reports import Kind, read_report
from tests.verify.reports.documents import Document


def test_a_report_is_read_as_it_was_written(good: Document, tmp_path: Path) -> None:
    """The file holds the whole document."""
    path = tmp_path / "v.json"
    path.write_text(json_text(good))
    assert read_report(path) == good


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", r"v\.json: not a JSON report"),
        ("\xff\xfe", r"v\.json: not a JSON report"),
        ("[" * 100_000, r"v\.json: not a JSON report"),
        ("[]", r"expected a report of schema bnfold\.verification/1, found no schema; bnfold verify writes one"),
        ('{"schema": "bnfold.fold/1"}', r"found schema 'bnfold\.fold/1'; bnfold verify writes one"),
        (
            '{"schema": "bnfold.verification/2"}',
            r"/1, found schema .*/2'; read it with the version of bnfold that wrote",
        ),
        (
            '{"schema": "bnfold.verification/1"}',
            r"not a report of schema bnfold\.verification/1: report: verdict is missing",
        ),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """Each with what was found and what to do, and as bad input."""
    path = tmp_path / "v.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=told):
        read_report(path)


def test_a_missing_report_is_refused(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_report(tmp_path / "none.json")


def test_other_kinds_have_their_own_schema(good: Document, tmp_path: Path) -> None:
    """A verification report is no fold report."""
    path = tmp_path / "v.json"
    path.write_text(json.dumps(good))
    with pytest.raises(InputError, match=r"expected a report of schema bnfold\.fold/1"):
        read_report(path, Kind.FOLD)
