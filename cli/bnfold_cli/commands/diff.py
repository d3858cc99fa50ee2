"""``bnfold diff``."""

from pathlib import Path
from typing import Annotated

import typer

from bnfold_cli.options import Force, argument, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold diff before.json after.json",
    "bnfold diff onnxruntime-1.30.json onnxruntime-1.31.json --report upgrade.md",
    "bnfold diff before.json after.json --noise 2 --json",
)


def run(
    out: Output,
    old: Annotated[Path, argument(metavar="OLD.json", help="The earlier report, of verify --report FILE.json.")],
    new: Annotated[Path, argument(metavar="NEW.json", help="The later report, of the same model on the same inputs.")],
    noise: Annotated[
        float | None,
        option(
            "--noise",
            metavar="X",
            help="Factor that an error may grow by without being worse; default: 5.66, which is 4·√2: other kernels "
            "sum in another order, and each error is one draw.",
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        option("--report", metavar="FILE", help="Also write the comparison, as .json or .md; may be repeated."),
    ] = None,
    force: Force = False,
) -> None:
    """Compare two reports of verify: before and after an upgrade of the runtime, say.

    Ends with 1 if something got worse beyond noise: an error that grew by more than --noise over the old one (or over
    what a rounding of every weight does, where that is more), a graver verdict, a clear top-1 decision that is wrong
    now, nodes that left the provider, an output or a rung that is missing now. Ends with 0 otherwise.
    """
    from bnfold_cli.rendering import diff as rendering
    from bnfold_cli.work.reports import compare

    found = compare(old, new, noise=noise, reports=report or (), force=force)
    out.result(found.to_dict(), rendering.compared(found))
    raise typer.Exit(found.exit_code)
