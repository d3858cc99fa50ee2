"""Usage errors in one line: what is wrong, where the value came from, and which page helps."""

from collections.abc import Sequence

import typer

from bnfold.errors import InputError


def usage_message(error: typer.TyperException) -> str:
    """Return typer's message, the source of a value that was not on the command line, and the page that helps."""
    path: str | None = getattr(getattr(error, "ctx", None), "command_path", None)
    # pydantic, which reads the values for typer, announces every refusal of an enumeration with these words.
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    if isinstance(error, typer.BadParameter):
        message += _source(error)
    stop = "" if message.endswith("?") else "."
    return f"{message}{stop} See '{path} --help'." if path else message + stop


def _source(error: typer.BadParameter) -> str:
    if error.ctx is None or error.param is None:
        return ""
    source = error.ctx.get_parameter_source(error.param.name)
    if source is None or source.name not in {"DEFAULT_MAP", "ENVIRONMENT"}:
        return ""
    return f" (from {'a configuration file' if source.name == 'DEFAULT_MAP' else 'the environment'})"


def require_no_empty_words(arguments: Sequence[str]) -> None:
    """Refuse empty words, as an unset variable of a shell leaves them: as a path they would mean this folder.

    Raises:
        InputError: names the option, or the position of the argument.
    """
    for position, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if word == "":
            before = arguments[position - 1] if position else ""
            where = before if before.startswith("-") else f"argument {position} of the command"
        elif word.startswith("--") and equals and not value:
            where = name
        else:
            continue
        raise InputError(f"{where}: is empty; expected a name or a value (is a variable of the shell unset?).")
