"""Usage errors in one line: what is wrong, where the value came from, and which page helps."""

import typer


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
