"""Errors of the library about a graph that it knows by no file, told with the names that the user gave."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import onnx_ir as ir

_ANONYMOUS = "the model: "
"""How the runtime begins where it was given no file of the user's."""

_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(")


@contextmanager
def naming_source(source: Path, graph: "ir.Model") -> Generator[None]:
    """Name ``source`` where ONNX Runtime refuses ``graph``, and say what to do about a type that it lacks."""
    has_doubles = _has_doubles(graph)
    try:
        yield
    except MissingDependencyError:
        raise
    except InputError as error:
        text = str(error)
        if not text.startswith(_ANONYMOUS):
            raise
        raise InputError(
            f"{source}: {text.removeprefix(_ANONYMOUS)}{_advice(text, has_doubles=has_doubles)}"
        ) from error


@contextmanager
def naming_data(source: Path, data: str) -> Generator[None]:
    """Name the model and the data where the one does not take the other."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: --data {data}: {error}") from error


def _has_doubles(graph: "ir.Model") -> bool:
    """Whether an input or a weight of a graph is in float64."""
    import onnx_ir as ir

    values = (*graph.graph.inputs, *graph.graph.initializers.values())
    return any(value.dtype is ir.DataType.DOUBLE for value in values)


def missing_kernel(text: str) -> str:
    """Return which operator ONNX Runtime says that it lacks, or else all that it says."""
    missing = _NO_KERNEL.search(text)
    return text if missing is None else f"it has no {missing[1]} in this type"


def _advice(text: str, *, has_doubles: bool) -> str:
    missing = _NO_KERNEL.search(text)
    if missing is None or not has_doubles:
        return ""
    return (
        f". The model is in float64, and ONNX Runtime's CPU provider has no {missing[1]} in that type: cast the "
        "model's weights and inputs to float32, or export it anew from the framework in float32."
    )
