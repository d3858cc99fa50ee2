"""``bnfold demo``."""

from pathlib import Path
from typing import Annotated

import typer

from bnfold_cli.options import Force, Seed, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold demo",
    "bnfold demo -o /tmp/demo --seed 1 --force",
)


def run(
    out: Output,
    output: Annotated[Path, option("--output", "-o", metavar="FOLDER", help="The folder to write.")] = Path("demo"),
    epochs: Annotated[
        int | None,
        option("--epochs", metavar="N", minimum=1, help="Passes over the training data; default: the recipe's."),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Run the whole chain on real data: train, calibrate, fold, export, verify.

    A small network learns scikit-learn's handwritten digits, and loses its normalizations. Each step is the command of
    that name, as the lines on stderr tell.
    """
    from bnfold_cli.rendering import demo as rendering
    from bnfold_cli.work.demo import demo

    result = demo(
        output, epochs=epochs, seed=seed, force=force, progress=out.progress, note=lambda line: out.note(f"$ {line}")
    )
    out.result(result.to_dict(), rendering.demonstrated(result))
    raise typer.Exit(result.verified.exit_code)
