"""Reports of ``bnfold verify``: written in the forms that were asked for, judged again, and compared."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.errors import AttestationError, InputError
from bnfold.files import atomic_file
from bnfold_cli.work.files import require_distinct, require_file_output

if TYPE_CHECKING:
    from bnfold.verify.reports import Difference


def require_reports(paths: Sequence[Path], *sources: Path | None, force: bool) -> None:
    """Check, before the work, that every report can be written.

    Raises:
        InputError: a suffix that no form has, a file that is in the way, one named twice, or one of ``sources``.
    """
    if not paths:
        return
    from bnfold.verify.reports import require_form

    for path in paths:
        require_form(path)
        require_file_output(path, force=force)
    for source in sources:
        require_distinct(source, *paths)


def read_fold_report(path: Path | None, reports: Sequence[Path]) -> dict[str, Any] | None:
    """Return the fold report that ``reports`` are to tell of, if there is one.

    Raises:
        InputError: no fold report, or no reports.
    """
    if path is None:
        return None
    if not reports:
        raise InputError("--fold-report: it is told of in reports; name one with --report FILE.")
    from bnfold.verify.reports import Kind, read_report

    return dict(read_report(path, Kind.FOLD))


def write_reports(document: Mapping[str, Any], paths: Sequence[Path]) -> None:
    """Write ``document`` to every path, in the form that its suffix asks for; all texts are made before any is written.

    Raises:
        InputError: a file cannot be written.
    """
    if not paths:
        return
    from bnfold.verify.reports import report_text

    write_texts({path: report_text(document, path) for path in paths})


@contextmanager
def reporting_attestation(
    provider: str, subject: Path, candidate: Path | None, reports: Sequence[Path]
) -> Generator[None]:
    """Where the provider cannot be loaded, write ``reports`` that say so; the error goes on."""
    try:
        yield
    except AttestationError as error:
        if reports:
            from bnfold.bundle.layout import MODEL
            from bnfold.verify.reports.unattested import unattested

            original = {} if candidate is None else {"original": subject}
            files = {**original, "candidate": candidate or subject / MODEL}
            write_reports(unattested(error, provider, files), reports)
        raise


def tells_of_folds(reports: Sequence[Path]) -> bool:
    """Say whether any of ``reports`` has a place for what became of the normalizations, which takes both graphs."""
    return any(path.suffix.lower() in {".json", ".html"} for path in reports)


def with_folds(
    document: Mapping[str, Any], subject: Path, candidate: Path | None, fold_report: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return ``document`` with what became of every normalization, as the fold's report or the two graphs tell it.

    Args:
        document: the report in its JSON form.
        subject: the bundle, or with ``candidate`` the original graph.
        candidate: the folded graph.
        fold_report: what ``bnfold fold`` tells of the fold; of a bundle, by default its own.
    """
    from bnfold.bundle.layout import FOLD, MODEL
    from bnfold.graph import load
    from bnfold.verify.reports import Kind, read_report
    from bnfold.verify.reports.folds import folds

    if candidate is not None:
        return {**document, "folds": folds(load(subject), load(candidate), fold_report)}
    own = read_report(subject / FOLD, Kind.FOLD) if fold_report is None else fold_report
    return {**document, "folds": folds(None, load(subject / MODEL), own)}


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write each text to its file.

    Raises:
        InputError: a file cannot be written.
    """
    for path, text in texts.items():
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def rethreshold(
    report: Path,
    *,
    k: float | None,
    floor_scale: float | None,
    reports: Sequence[Path] = (),
    fold_report: Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Return the report in the file ``report``, judged again with other factors, and write it to ``reports``.

    Raises:
        InputError: no report, one of another schema, factors that are none, or an output is in the way.
    """
    require_reports(reports, report, fold_report, force=force)
    from bnfold.verify.reports import read_report, rejudge

    account = read_fold_report(fold_report, reports)
    document = rejudge(read_report(report), k=k, floor_scale=floor_scale)
    if account is not None:
        document = {**document, "folds": _merged(document.get("folds"), account)}
    write_reports(document, reports)
    return document


def _merged(folds: Mapping[str, Any] | None, fold_report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the account of the fold with the pictures that the report holds already, found by name."""
    drawn = {record["name"]: record for record in (folds or {}).get("batch_norms", ())}
    keys = ("name", "into", "reason", "witness", "detail")
    records = [
        {
            **{key: outcome[key] for key in keys},
            "removed": outcome["reason"] is None,
            **{when: drawn.get(outcome["name"], {}).get(when) for when in ("before", "after")},
        }
        for outcome in fold_report["batch_norms"]
    ]
    return {"basis": "fold-report", "batch_norms": records}


def compare(
    old: Path, new: Path, *, noise: float | None = None, reports: Sequence[Path] = (), force: bool = False
) -> "Difference":
    """Return what changed from the report in ``old`` to that in ``new``, and write it to ``reports``.

    Raises:
        InputError: no report, one of another schema, nothing in common, or an output is in the way.
    """
    for path in reports:
        if path.suffix.lower() not in {".json", ".md"}:
            raise InputError(f"{path}: a comparison is written as .json or .md.")
        require_file_output(path, force=force)
        require_distinct(old, *reports)
        require_distinct(new, *reports)
    from bnfold.json_text import json_text
    from bnfold.verify.reports import difference, read_report
    from bnfold.verify.reports.difference import NOISE
    from bnfold.verify.reports.markdown_difference import markdown_difference

    found = difference(read_report(old), read_report(new), noise=NOISE if noise is None else noise)
    forms = {".json": lambda: json_text(found.to_dict()), ".md": lambda: markdown_difference(found)}
    write_texts({path: forms[path.suffix.lower()]() for path in reports})
    return found
