"""``bnfold verify``."""

from pathlib import Path
from typing import Annotated

import typer

from bnfold_cli.choices import Provider
from bnfold_cli.options import Force, Report, argument, choice, data, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold verify bundle",
    "bnfold verify model.onnx folded.onnx --samples 256 --seed 1",
    "bnfold verify model.onnx folded.onnx --data npz:cats.npz --report v.json",
    "bnfold verify bundle --provider cuda",
)


def run(
    out: Output,
    subject: Annotated[
        Path, argument(metavar="BUNDLE|A.onnx", help="A bundle folder, or the ONNX file that says what is right.")
    ],
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
    report: Report = None,
    force: Force = False,
) -> None:
    """Judge whether a model still computes the same, on the runtime that will serve it.

    The judge is a float64 evaluation of the original outside the runtime. Ends with 0 if equivalent, 1 if not, 3 if the
    work did not run on the provider that was asked for, 4 if nothing can be concluded.
    """
    from bnfold_cli.rendering import verify as rendering
    from bnfold_cli.work.verify import verify

    result = verify(
        subject,
        candidate,
        provider=provider,
        data=data,
        samples=samples,
        seed=seed,
        report=report,
        force=force,
        progress=out.progress,
    )
    out.result(result.to_dict(), rendering.verified(result))
    raise typer.Exit(result.exit_code)
