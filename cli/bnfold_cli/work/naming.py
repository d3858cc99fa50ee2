"""Errors of the library about a graph that it knows by no file, told with the names that the user gave."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bnfold.errors import InputError, MissingDependencyError

_ANONYMOUS = "the model: "
"""How the runtime begins where it was given no file of the user's."""


@contextmanager
def naming_source(source: Path) -> Generator[None]:
    """Name ``source`` where ONNX Runtime refuses a graph that was made of it."""
    try:
        yield
    except MissingDependencyError:
        raise
    except InputError as error:
        text = str(error)
        if not text.startswith(_ANONYMOUS):
            raise
        raise InputError(f"{source}: {text.removeprefix(_ANONYMOUS)}") from error


@contextmanager
def naming_graph(source: Path) -> Generator[None]:
    """Name ``source`` where its graph is at fault."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


@contextmanager
def naming_data(source: Path, data: str) -> Generator[None]:
    """Name the model and the data where the one does not take the other."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: --data {data}: {error}") from error
