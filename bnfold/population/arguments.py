"""Batches as arguments of a model."""

import inspect
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from bnfold.errors import InputError


def arguments_of(batch: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the keyword arguments that a batch stands for.

    Raises:
        InputError: it is no tensor, no tuple or list of arguments and no mapping of keyword arguments.
    """
    match batch:
        case Tensor():
            return (batch,), {}
        case tuple() | list():
            return tuple(cast("tuple[object, ...]", batch)), {}
        case Mapping():
            return (), dict(cast("Mapping[str, object]", batch))
        case _:
            raise InputError(
                f"batch: expected a tensor, a tuple or a mapping, found {type(batch).__name__}; pass a forward_fn."
            )


def call_model(model: nn.Module, batch: object) -> object:
    """Run ``model`` on a tensor, on a tuple or list of arguments, or on a mapping of keyword arguments.

    Raises:
        InputError: ``batch`` is none of these.
    """
    args, kwargs = arguments_of(batch)
    return model(*args, **kwargs)


def bound_arguments(model: nn.Module, batch: object) -> dict[str, Any]:
    """Return every argument of ``model.forward`` by name, defaults included.

    Raises:
        InputError: ``batch`` stands for no arguments, or for others than ``forward`` takes.
    """
    args, kwargs = arguments_of(batch)
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"batch: does not fit {type(model).__name__}.forward: {error}.") from error
    bound.apply_defaults()
    return dict(bound.arguments)


def has_samples(batch: object) -> bool:
    """Return False where the arguments have tensors and none of these has a row."""
    tensors = _tensors(batch)
    return not tensors or any(len(tensor) for tensor in tensors)


def count_samples(batch: object) -> int | None:
    """Return the leading extent of the first tensor among the arguments; None where there is none."""
    first = next(iter(_tensors(batch)), None)
    return None if first is None else len(first)


def told_samples(batch: object) -> int:
    """Return what to tell of a batch that is done: its samples, or 1 where these cannot be told."""
    return count_samples(batch) or 1


def _tensors(batch: object) -> list[Tensor]:
    items = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else (batch,)
    return [item for item in items if isinstance(item, Tensor) and item.ndim > 0]
