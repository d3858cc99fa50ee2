"""Arguments and options as the commands declare them; each has help text, or it cannot be declared."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.markup import escape
from typer.models import ArgumentInfo, OptionInfo

from bnfold_cli import choices
from bnfold_cli.samples import builtin_models

COMMON = "Common options"
"""Help panel of the options that every command has."""


def option(
    *names: str,
    help: str,  # noqa: A002  (typer's own name for it)
    metavar: str | None = None,
    minimum: float | None = None,
    panel: str | None = None,
    complete: Callable[[str], list[str]] | None = None,
    environment: str | None = None,
) -> OptionInfo:
    """Return an option for ``Annotated``; its environment variable is ``BNFOLD_<COMMAND>_<NAME>`` unless named."""
    info: OptionInfo = typer.Option(
        *names,
        help=escape(help),
        metavar=metavar,
        min=minimum,
        rich_help_panel=panel,
        autocompletion=complete,
        envvar=environment,
        # Named once in `bnfold --help`, rather than again on every line of every page.
        show_envvar=False,
    )
    return info


def argument(*, help: str, metavar: str, complete: Callable[[str], list[str]] | None = None) -> ArgumentInfo:  # noqa: A002
    """Return a positional argument for ``Annotated``."""
    info: ArgumentInfo = typer.Argument(help=escape(help), metavar=metavar, autocompletion=complete, show_default=False)
    return info


def data(*, default: str) -> OptionInfo:
    """Return the option ``--data``, whose help says what is used without it."""
    text = f"digits, mnist-subset, npz:FILE, hf:FOLDER or FILE.py:FACTORY; default: {default}."
    return option("--data", metavar="D", complete=data_specs, help=text)


def choice(name: str, choices: object, *, help: str, panel: str | None = None) -> OptionInfo:  # noqa: A002
    """Return an option that takes one of a ``Literal``'s values, which its help lists."""
    return option(name, metavar="NAME", panel=panel, help=f"{help}: {', '.join(get_args(choices))}.")


def data_specs(incomplete: str) -> list[str]:
    """Complete what ``--data`` takes."""
    return [spec for spec in ("digits", "hf:", "mnist-subset", "npz:", "standardized:") if spec.startswith(incomplete)]


def model_names(incomplete: str) -> list[str]:
    """Complete the names of the built-in models, which are the names of their files."""
    names = (path.stem.replace("_", "-") for path in sorted(builtin_models().glob("[!_]*.py")))
    return [name for name in names if name.startswith(incomplete)]


Source = Annotated[Path, argument(metavar="RUN|M.onnx", help="A run folder (needs torch) or an ONNX file.")]
RunFolder = Annotated[Path, argument(metavar="RUN", help="A run folder that bnfold train or calibrate has written.")]
Force = Annotated[bool, option("--force", help="Replace outputs that exist.")]
Report = Annotated[
    Path | None, option("--report", metavar="FILE.json", help="Also write the result as JSON to a file.")
]
Seed = Annotated[int, option("--seed", metavar="N", minimum=0, help="Seed of everything that is drawn by chance.")]
Ranges = Annotated[
    list[str] | None,
    option(
        "--range",
        metavar="NAME=LO:HI",
        help="Draw this input uniformly between two bounds, integers too; may be repeated.",
    ),
]
Objective = Annotated[
    choices.Objective,
    choice(
        "--objective",
        choices.Objective,
        help="Fold what makes the graph faster by a measured cost model, or all that can be folded, at the price of a "
        "maximum in place of a Relu or of a constant added to a padded border",
    ),
]
RunsOn = Annotated[
    choices.Provider,
    choice("--provider", choices.Provider, help="Where the model will run, whose costs decide what is faster"),
]
Model = Annotated[
    str | None,
    option(
        "--model",
        metavar="MODEL",
        complete=model_names,
        help="Name a run's model again, to allow its code to run although the file has changed since training.",
    ),
]
