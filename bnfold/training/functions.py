"""Losses and metrics of the user's own, ``FILE.py:FUNCTION`` or ``:FUNCTION`` of the model's own file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bnfold.data.factories import did_you_mean, find_factory, load_file, read_source, sha256
from bnfold.errors import InputError
from bnfold.training.models import ModelSource

Function = Callable[..., Any]


@dataclass(frozen=True)
class UserFunction:
    """A function that was found.

    Attributes:
        spec: what the user wrote.
        sha256: of the file that holds it; None for a module without a source file.
        call: the function.
    """

    spec: str
    sha256: str | None
    call: Function = field(repr=False, compare=False)


def function_file(spec: str) -> Path | None:
    """Return the Python file that ``spec`` names, None if it names none of its own."""
    place, _, name = spec.rpartition(":")
    return Path(place) if place.endswith(".py") and name else None


def absolute_function(spec: str) -> str:
    """Return ``spec`` so that it means the same from another working directory."""
    path = function_file(spec)
    return spec if path is None else f"{path.resolve()}:{spec.rpartition(':')[2]}"


def resolve_function(spec: str, option: str, names: list[str], source: ModelSource) -> UserFunction:
    """Return the function that ``spec``, which is none of the built-in ``names``, stands for.

    Args:
        spec: ``FILE.py:FUNCTION``, or ``:FUNCTION`` for one in the model's file.
        option: where it was given, for messages.
        names: of the built-in ones, for messages.
        source: the model.

    Raises:
        InputError: no such name, file or function.
    """
    place, colon, name = spec.rpartition(":")
    if colon and name and not place:
        return UserFunction(spec, source.sha256, source.member(name))
    path = function_file(spec)
    if path is not None:
        content = read_source(path)
        function = find_factory(load_file(path, content), name, where=place)
        return UserFunction(absolute_function(spec), sha256(content), function)
    raise InputError(
        f"{option}: no {spec!r}{did_you_mean(spec, names)}; expected {', '.join(names)}, FILE.py:FUNCTION, or "
        ":FUNCTION for one in the model's own file."
    )
