"""``bnfold compare``."""

from pathlib import Path
from typing import Annotated

from bnfold_cli.options import Force, argument, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold compare runs/plain-0 runs/plain-1 runs/bn-0 runs/bn-1",
    "bnfold compare runs/plain runs/bn --plot curves.png --plot curves.svg",
    "bnfold compare runs/small runs/large --metric loss --target 0.1 --json",
)


def run(
    out: Output,
    runs: Annotated[list[Path], argument(metavar="RUN...", help="Run folders of bnfold train, finished or not.")],
    metric: Annotated[
        str | None,
        option("--metric", metavar="NAME", help="What to compare: loss or a metric; default: accuracy, else loss."),
    ] = None,
    target: Annotated[
        float | None,
        option(
            "--target", metavar="X", help="Count steps to this value; default: the best of the first recipe's runs."
        ),
    ] = None,
    lower_is_better: Annotated[
        bool, option("--lower-is-better", help="For a metric of your own: small values are good ones.")
    ] = False,
    title: Annotated[str | None, option("--title", metavar="TEXT", help="Title of the picture.")] = None,
    plot: Annotated[
        list[Path] | None,
        option("--plot", metavar="FILE", help="Draw the curves, as .png, .svg or .pdf; can be given again."),
    ] = None,
    force: Force = False,
) -> None:
    """Compare training runs: curves, steps to a value, best values.

    Runs that differ in nothing but their seed share a recipe: the table gives their median and range, and the picture a
    line with a band. The target is what the first recipe's runs reach, so that the others tell how many steps they need
    for that.
    """
    from bnfold_cli.rendering import compare as rendering
    from bnfold_cli.work.compare import compare

    found = compare(
        runs, metric=metric, target=target, lower_is_better=lower_is_better, title=title, plots=plot or (), force=force
    )
    out.result(found.to_dict(), rendering.compared(found))
