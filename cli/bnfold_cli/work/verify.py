"""``bnfold verify``: a bundle against its golden data, or one ONNX file against another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold_cli.work.reports import read_fold_report, require_reports, tells_of_folds, with_folds, write_reports
from bnfold_cli.work.sources import require_numbers

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from bnfold.verify import VerificationReport
    from bnfold.verify.samples import Range

SAMPLES = 64
"""Samples where the user asks for no number: random ones where there is no data, golden ones of a bundle."""


def verify(
    subject: Path,
    candidate: Path | None = None,
    *,
    provider: str = "cpu",
    data: str | None = None,
    samples: int | None = None,
    seed: int | None = None,
    ranges: Sequence[str] = (),
    mutants: int | None = None,
    reports: Sequence[Path] = (),
    fold_report: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> "VerificationReport":
    """Return the verdict on a bundle, or on ``candidate`` in the light of ``subject``.

    Args:
        subject: a bundle folder; with ``candidate`` the ONNX file that says what is right.
        candidate: the ONNX file that is to be the same function.
        provider: name of a `bnfold.verify.Provider`.
        data: what to compare on (its test split); random values by default. A bundle brings its own.
        samples: how many of them; None for all of the data, or `SAMPLES` random ones.
        seed: of the random values.
        ranges: inputs to draw uniformly, each as ``NAME=LO:HI``.
        mutants: how many wrong candidates the self-test makes; None for as many as the library does.
        reports: where to write the report, each in the form that its suffix asks for.
        fold_report: of the fold that made the candidate, for the reports to tell of; a bundle brings its own.
        force: replace reports that are there.
        progress: told of every batch.

    Raises:
        InputError: no such bundle or file, graphs that are not comparable, data that does not fit.
        AttestationError: the provider cannot be loaded here.
    """
    require_reports(reports, subject, candidate, fold_report, force=force)
    account = read_fold_report(fold_report, reports)
    from bnfold.verify import Provider, verify_bundle
    from bnfold.verify import verify as verify_files
    from bnfold.verify.edge_cases import edge_cases
    from bnfold.verify.mutation import MUTANTS

    count = MUTANTS if mutants is None else mutants
    if candidate is None:
        given = {"--data": data, "--samples": samples, "--seed": seed, "--range": ranges or None}
        _require_bundle(subject, given=given)
        result = verify_bundle(subject, provider=Provider(provider), mutants=count, progress=progress)
    else:
        from bnfold.graph import load

        original = load(subject)
        require_numbers(original, subject)
        if data is not None and ranges:
            raise InputError("--range: data are compared as they are; leave out one of --data and --range.")
        intervals = bounds(ranges)
        inputs = sample_inputs(original, data=data, samples=samples, seed=seed or 0, ranges=intervals)
        # Data that somebody chose say what a model is given; only where values are drawn are the edges drawn as well.
        edges = edge_cases(original, intervals, seed or 0) if data is None else None
        result = verify_files(
            subject,
            candidate,
            inputs,
            provider=Provider(provider),
            edges=edges,
            mutants=count,
            progress=progress,
        )
    if reports:
        document = result.to_dict()
        if tells_of_folds(reports):
            document = with_folds(document, subject, candidate, account)
        write_reports(document, reports)
    return result


def sample_inputs(
    model: "ir.Model",
    *,
    data: str | None,
    samples: int | None,
    seed: int,
    at_most: int | None = None,
    ranges: "Mapping[str, Range] | None" = None,
) -> "dict[str, np.ndarray[Any, Any]]":
    """Return inputs for ``model``: the test split of ``data``, or random values, in ``ranges`` where there are any.

    ``samples`` are as many as asked for; where it is None, all of the data is taken, or ``at_most`` of it.

    Raises:
        InputError: no such data, fewer samples than asked for, or inputs that the model does not take.
    """
    from bnfold.verify import random_inputs
    from bnfold.verify.signature import Signature, check_inputs

    if data is None:
        return random_inputs(model, samples or SAMPLES, seed, ranges)
    from bnfold.data import Split, load_data

    dataset = load_data(data, Split.TEST)
    count = samples or min(len(dataset), at_most or len(dataset))
    inputs = dict(dataset.take(count).inputs)
    try:
        check_inputs(Signature.of(model), inputs)
    except InputError as error:
        raise InputError(f"--data {data}: {error}") from error
    return inputs


def bounds(ranges: Sequence[str]) -> "dict[str, Range]":
    """Read ``NAME=LO:HI``.

    Raises:
        InputError: it is not of that form, or names an input twice.
    """
    from bnfold.verify.samples import Range

    intervals: dict[str, Range] = {}
    for text in ranges:
        name, _, interval = text.rpartition("=")
        low, _, high = interval.partition(":")
        try:
            parsed = Range(float(low), float(high))
        except ValueError as error:
            raise InputError(f"--range {text}: expected NAME=LO:HI, for instance pixels=0:255.") from error
        if not name or name in intervals:
            raise InputError(f"--range {text}: expected NAME=LO:HI, once for each input.")
        intervals[name] = parsed
    return intervals


def _require_bundle(folder: Path, *, given: Mapping[str, object]) -> None:
    if folder.is_file():
        raise InputError(f"{folder}: a file; name a second one to compare it with, or give a bundle folder.")
    needless = [name for name, value in given.items() if value is not None]
    if needless:
        raise InputError(f"{', '.join(needless)}: a bundle is held to its own golden data; leave it out.")
