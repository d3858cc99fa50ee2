"""``bnfold verify``."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bnfold.errors import InputError
from bnfold_cli.choices import Provider
from bnfold_cli.options import Force, Ranges, argument, choice, data, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold verify bundle",
    "bnfold verify model.onnx folded.onnx --samples 256 --seed 1",
    "bnfold verify model.onnx folded.onnx --data npz:cats.npz --report v.json",
    "bnfold verify model.onnx folded.onnx --range pixels=0:255 --range tokens=0:30521",
    "bnfold verify bundle --provider cuda",
    "bnfold verify bundle --report v.json --report junit.xml --report summary.md --report v.html",
    "bnfold verify --rethreshold v.json --k 4 --report stricter.html",
)

REJUDGE = "Judging again, without running"
"""Help panel of the options that take a report in place of models."""


def run(
    out: Output,
    subject: Annotated[
        Path | None,
        argument(metavar="BUNDLE|A.onnx", help="A bundle folder, or the ONNX file that says what is right."),
    ] = None,
    candidate: Annotated[
        Path | None, argument(metavar="B.onnx", help="The ONNX file that is to be the same function.")
    ] = None,
    provider: Annotated[Provider, choice("--provider", Provider, help="Where the candidate runs")] = "cpu",
    data: Annotated[str | None, data(default="random values; a bundle brings its own")] = None,
    samples: Annotated[
        int | None,
        option(
            "--samples", metavar="N", minimum=1, help="How many samples; default: all of --data, or 64 random ones."
        ),
    ] = None,
    seed: Annotated[
        int | None, option("--seed", metavar="N", minimum=0, help="Seed of the random values; default: 0.")
    ] = None,
    ranges: Ranges = None,
    mutants: Annotated[
        int | None,
        option(
            "--mutants",
            metavar="N",
            minimum=0,
            help="Wrong candidates that the self-test makes and must catch; 0: no self-test; default: 8.",
        ),
    ] = None,
    explain_figures: Annotated[
        bool, option("--explain-figures", help="Explain every figure of a report in one line, and run nothing.")
    ] = False,
    report: Annotated[
        list[Path] | None,
        option(
            "--report",
            metavar="FILE",
            help="Also write the report: .json (all figures), .xml (JUnit), .md (Markdown, for a step summary) or "
            ".html (one page for people); may be repeated.",
        ),
    ] = None,
    fold_report: Annotated[
        Path | None,
        option(
            "--fold-report",
            metavar="FILE.json",
            help="Tell in the reports what became of each normalization, and why: a report of bnfold fold; a bundle "
            "brings its own.",
        ),
    ] = None,
    force: Force = False,
    rethreshold: Annotated[
        Path | None,
        option(
            "--rethreshold",
            metavar="REPORT.json",
            panel=REJUDGE,
            help="Judge the figures of a report again, by its own limits or by the two factors below.",
        ),
    ] = None,
    k: Annotated[
        float | None,
        option("--k", metavar="K", panel=REJUDGE, help="Factor on the original's own error; default: the report's."),
    ] = None,
    floor_scale: Annotated[
        float | None,
        option("--floor-scale", metavar="X", panel=REJUDGE, help="Factor on the floors; default: the report's, 1."),
    ] = None,
) -> None:
    """Judge whether a model still computes the same, on the runtime that will serve it.

    The judge is a float64 evaluation of the original outside the runtime. Ends with 0 if equivalent, 1 if not, 3 if the
    work did not run on the provider that was asked for, 4 if nothing can be concluded.
    """
    if explain_figures:
        from bnfold.verify.explanations import FIGURES
        from bnfold_cli.rendering.verify import explained

        out.result({"figures": FIGURES}, explained())
        raise typer.Exit
    if rethreshold is not None:
        given = {"--data": data, "--samples": samples, "--seed": seed, "--range": ranges, "--mutants": mutants}
        needless = [name for name, value in given.items() if value is not None]
        if subject is not None or needless:
            told = ", ".join(needless) or "the models"
            raise InputError(f"--rethreshold judges a report and runs nothing: leave out {told}, or the option.")
        _rethreshold(out, rethreshold, k, floor_scale, report or [], fold_report, force)
    if subject is None:
        raise InputError("name a bundle, or two ONNX files, or a report with --rethreshold.")
    if k is not None or floor_scale is not None:
        raise InputError("--k, --floor-scale: they judge a report again; a first verdict has derived limits alone.")
    from bnfold_cli.rendering import verify as rendering
    from bnfold_cli.work.reports import reporting_attestation
    from bnfold_cli.work.verify import verify

    with reporting_attestation(provider, subject, candidate, report or ()):
        result = verify(
            subject,
            candidate,
            provider=provider,
            data=data,
            samples=samples,
            seed=seed,
            ranges=ranges or (),
            mutants=mutants,
            reports=report or (),
            fold_report=fold_report,
            force=force,
            progress=out.progress,
        )
    out.result(result.to_dict(), rendering.verified(result))
    raise typer.Exit(result.exit_code)


def _rethreshold(
    out: Output,
    source: Path,
    k: float | None,
    floor_scale: float | None,
    reports: list[Path],
    fold_report: Path | None,
    force: bool,
) -> NoReturn:
    from bnfold_cli.rendering.reports import rejudged
    from bnfold_cli.work.reports import rethreshold

    document = rethreshold(source, k=k, floor_scale=floor_scale, reports=reports, fold_report=fold_report, force=force)
    out.result(document, rejudged(document))
    raise typer.Exit(document["exit_code"])
