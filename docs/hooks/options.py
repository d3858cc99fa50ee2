"""What a command takes, off the command line itself."""

import inspect
from collections.abc import Iterable
from importlib import import_module
from typing import cast

from rich.text import Text
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from bnfold_cli.app import app
from bnfold_cli.options import COMMON

ROOT = cast("TyperGroup", get_command(app))

Parameter = TyperArgument | TyperOption


def tables(name: str) -> str:
    """Return what a command does, its examples, and a table of its options for each of their panels.

    ``common`` are the options that every command has.
    """
    if name == "common":
        command = _command(next(iter(ROOT.commands)))
        return _table("Option", [p for p in _parameters(command) if p.rich_help_panel == COMMON])
    command, module = _command(name), import_module(f"bnfold_cli.commands.{name}")
    panels: dict[str, list[Parameter]] = {}
    for parameter in _parameters(command):
        panels.setdefault(parameter.rich_help_panel or _kind(parameter), []).append(parameter)
    del panels[COMMON]
    parts = ["## What it does", inspect.getdoc(module.run) or "", "## Examples", _block(module.EXAMPLES)]
    for panel, parameters in panels.items():
        parts += [f"## {panel}", _table("Argument" if panel == "Arguments" else "Option", parameters)]
    parts.append("Besides, the [common options](index.md#common-options).")
    return "\n\n".join(parts)


def _command(name: str) -> TyperCommand:
    return cast("TyperCommand", ROOT.commands[name])


def _parameters(command: TyperCommand) -> list[Parameter]:
    return [p for p in command.params if isinstance(p, TyperArgument | TyperOption)]


def _kind(parameter: Parameter) -> str:
    return "Arguments" if isinstance(parameter, TyperArgument) else "Options"


def _table(header: str, parameters: Iterable[Parameter]) -> str:
    rows = [f"| {_name(p)} | {_cell(Text.from_markup(p.help or '').plain)} | {_default(p)} |" for p in parameters]
    return "\n".join([f"| {header} | What it is | Default |", "|---|---|---|", *rows])


def _name(parameter: Parameter) -> str:
    metavar = parameter.metavar or ""
    if isinstance(parameter, TyperArgument):
        return f"`{metavar}`"
    spellings = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return f"{spellings} `{metavar}`" if metavar else spellings


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    return "" if default is None or default is False else f"`{default}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*").replace("<", "&lt;")


def _block(lines: Iterable[str]) -> str:
    return "\n".join(["```console", *(f"$ {line}" for line in lines), "```"])
