"""How a function becomes a command: the options that all commands have, and the examples of its help page."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from typer.core import TyperGroup

from bnfold_cli.config import Keys, configured, require_known_environment
from bnfold_cli.options import COMMON, option
from bnfold_cli.output import Output

UNCONFIGURED = frozenset({"help", "config", "json", "debug"})
"""Options of one call, which no file sets."""


def register(app: typer.Typer, function: Callable[..., None], *, examples: Sequence[str]) -> None:
    """Add ``function(out, ...)`` to ``app`` under the name of its module; its docstring is the help text.

    Args:
        app: the application.
        function: takes an ``Output`` first; its other parameters become the command's arguments and options.
        examples: command lines that end the help page.
    """
    name = function.__module__.rpartition(".")[2]
    lines = "\n".join(f"  [cyan]$[/] {escape(example)}" for example in examples)
    app.command(
        name,
        help=_unwrapped(inspect.getdoc(function) or ""),
        epilog=f"[bold]Examples[/]\n{lines}",
        context_settings={"auto_envvar_prefix": f"BNFOLD_{name}"},
    )(_with_common_options(name, function))


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph: the terminal's width decides where they break."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _with_common_options(name: str, function: Callable[..., None]) -> Callable[..., None]:
    def run(as_json: bool, quiet: bool, config: Path | None, debug: bool, **options: object) -> None:  # noqa: ARG001  (read by its callback, or by `main`)
        with Output(name, as_json=as_json, quiet=quiet) as out:
            function(out, **options)

    _, *own = inspect.signature(function).parameters.values()
    common = inspect.signature(_common_options).parameters.values()
    signature = inspect.Signature([*own, *common])
    run.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]  (read by inspect.signature)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return run


def _configure(context: typer.Context, value: Path | None) -> Path | None:
    """Give the other options the values of the files; eager, so that it runs before they are read."""
    command = context.command.name or ""
    keys = _keys(context)
    require_known_environment(command, keys)
    context.default_map = configured(command, keys, value)
    return value


def _keys(context: typer.Context) -> Keys:
    root = context.find_root().command
    assert isinstance(root, TyperGroup)
    return {
        command_name: {
            key: parameter.name
            for parameter in command.params
            for key in (name.removeprefix("--") for name in parameter.opts if name.startswith("--"))
            if key not in UNCONFIGURED
        }
        for command_name, command in root.commands.items()
    }


def _common_options(
    *,
    as_json: Annotated[
        bool,
        option("--json", panel=COMMON, help='Print one JSON object and nothing else; on failure {"error": ...}.'),
    ] = False,
    quiet: Annotated[
        bool,
        option("--quiet", "-q", panel=COMMON, environment="BNFOLD_QUIET", help="No progress bars and no notes."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            envvar="BNFOLD_CONFIG",
            show_envvar=False,
            callback=_configure,
            is_eager=True,
            rich_help_panel=COMMON,
            help="Read options from this TOML file; it goes before [bold]tool.bnfold[/] of ./pyproject.toml.",
        ),
    ] = None,
    debug: Annotated[
        bool,
        option("--debug", panel=COMMON, environment="BNFOLD_DEBUG", help="Show the traceback of an error."),
    ] = False,
) -> None:
    """The signature whose parameters every command has."""
