"""Options from files: ``--config FILE`` first, then ``[tool.bnfold]`` of ./pyproject.toml; a table for each command.

    [tool.bnfold.train]            [train]                  (in FILE, without the prefix)
    epochs = 12                    epochs = 12
    model-arg = { width = 24 }     model-arg = { width = 24 }

The command line and the environment go before both, an option's default after them. A key that no option has is an
error that names the file and the key.
"""

import json
import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from bnfold.errors import InputError
from bnfold.files import require_file

PYPROJECT = Path("pyproject.toml")

Keys = Mapping[str, Mapping[str, str]]
"""For each command, its keys (long option names without dashes) and the parameter that each one sets."""

Table = Mapping[str, object]


def configured(command: str, keys: Keys, file: Path | None) -> dict[str, object]:
    """Return what the files set for ``command``, by parameter name.

    Raises:
        InputError: a file is missing or not TOML, or has a table or a key that there is no command or option for.
    """
    values: dict[str, object] = {}
    if PYPROJECT.is_file():
        values |= _options(require_file(PYPROJECT), command, keys)
    if file is not None:
        values |= _options(require_file(file), command, keys)
    return values


def require_known_environment(command: str, keys: Keys) -> None:
    """Refuse a variable ``BNFOLD_<COMMAND>_*`` that sets no option: a misspelt one would be ignored in silence.

    Raises:
        InputError: there is such a variable.
    """
    prefix = f"BNFOLD_{command.upper()}_"
    known = {prefix + parameter.upper() for parameter in keys[command].values()}
    for name in os.environ:
        if name.startswith(prefix) and name not in known:
            raise InputError(f"environment variable {name}: bnfold {command} has no such option{_instead(name, known)}")


def _options(file: Path, command: str, keys: Keys) -> dict[str, object]:
    prefix, tables = _tables(file)
    for name, value in tables.items():
        if name not in keys:
            raise InputError(f"{file}: [{prefix}{name}]: there is no such command{_instead(name, keys)}")
        _require_known(_table(value, f"{file}: {prefix}{name}"), keys[name], f"{file}: [{prefix}{name}]")
    chosen = cast("Table", tables.get(command, {}))
    return {keys[command][_spelt(key)]: _value(value) for key, value in chosen.items()}


def _tables(file: Path) -> tuple[str, Table]:
    import tomllib

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not TOML: {error}.") from error
    if file.name != PYPROJECT.name:
        return "", document
    tool = _table(document.get("tool", {}), f"{file}: tool")
    return "tool.bnfold.", _table(tool.get("bnfold", {}), f"{file}: tool.bnfold")


def _table(value: object, where: str) -> Table:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a table, found {value!r}.")
    return cast("Table", value)


def _require_known(table: Table, known: Mapping[str, str], where: str) -> None:
    for key in table:
        if _spelt(key) not in known:
            raise InputError(f"{where}: unknown key {key!r}{_instead(key, known)}")


def _spelt(key: str) -> str:
    return key.replace("_", "-")


def _instead(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(_spelt(name), known, n=1) or get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(sorted(known))}."


def _value(value: object) -> object:
    """A table (``model-arg = {width = 24}``) is the list ``width=24`` that the command line would have."""
    if isinstance(value, dict):
        return [f"{key}={json.dumps(item)}" for key, item in cast("Table", value).items()]
    return value
