"""The application: its commands, in the order of the chain, and its own options."""

from typing import Annotated

import typer

from bnfold_cli.command import register
from bnfold_cli.commands import bench, calibrate, compare, demo, diff, doctor, export, fold, inspect, train, verify

HELP = "\n\n".join(
    (
        "Batch Normalization from training to deployment: exact folding, and proof that the result is equivalent.",
        "train → calibrate → fold → export → verify; [bold]bnfold demo[/] runs the whole chain on real data.",
        (
            "Options come from the command line, else from BNFOLD_<COMMAND>_<OPTION> in the environment, else from "
            "--config FILE, else from the table tool.bnfold.<command> of ./pyproject.toml, else from their default."
        ),
        (
            "Exit codes: 0 done, or equivalent; 1 not equivalent; 2 usage or bad input; 3 could not attest; "
            "4 inconclusive; 5 internal error; 130 interrupted."
        ),
    )
)

EXAMPLES = """[bold]Examples[/]
  [cyan]$[/] bnfold demo
  [cyan]$[/] bnfold fold model.onnx -o folded.onnx
  [cyan]$[/] bnfold verify model.onnx folded.onnx
  [cyan]$[/] bnfold --install-completion
"""

app = typer.Typer(
    name="bnfold",
    help=HELP,
    epilog=EXAMPLES,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

for _module in (demo, train, calibrate, fold, export, verify, diff, inspect, bench, compare, doctor):
    register(app, _module.run, examples=_module.EXAMPLES)


def _print_version(value: bool) -> None:
    if value:
        from bnfold_cli.versions import version_lines

        typer.echo("\n".join(version_lines()))
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(  # pyright: ignore[reportUnusedFunction]  (typer holds it)
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  (its callback does the work)
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the versions of bnfold and of what it works with.",
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit(2)
