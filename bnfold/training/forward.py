"""A batch through a model, and whether a model and a data set fit at all."""

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bnfold.data.dataset import Array, Batch, Dataset
from bnfold.data.factories import one_line
from bnfold.errors import BnfoldError, InputError

_PROBE_SAMPLES = 2


def to_tensors(arrays: Mapping[str, Array], device: torch.device) -> dict[str, Tensor]:
    """Return copies of ``arrays`` on ``device``."""
    return {name: torch.tensor(array, device=device) for name, array in arrays.items()}


def to_labels(labels: Array, device: torch.device) -> Tensor:
    """Return labels as cross-entropy takes them."""
    return torch.tensor(labels, device=device, dtype=torch.int64)


def call(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the model's output; a single input is passed by position, several by name.

    Raises:
        InputError: the model raises, which it does on shapes and types that it is not made for.
    """
    try:
        return model(next(iter(inputs.values()))) if len(inputs) == 1 else model(**inputs)
    except BnfoldError:
        raise
    except Exception as error:
        given = ", ".join(
            f"{name} {str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for name, x in inputs.items()
        )
        raise InputError(f"the model does not take {given}: {one_line(error)}.") from error


def device_of(model: nn.Module) -> torch.device:
    """Return where the model's first parameter lives, the CPU for one without parameters."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Put the model into evaluation mode for the block, then every module back into its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def require_fit(model: nn.Module, dataset: Dataset) -> None:
    """Check what cross-entropy needs: scores ``(N, classes, *target)``, labels ``(N, *target)`` from 0 to classes − 1.

    Two samples go through the model in evaluation mode; its parameters, buffers and modes stay as they are.

    Raises:
        InputError: no labels, labels that are no class numbers, inputs that the model does not take, other outputs.
    """
    labels = _require_class_numbers(dataset)
    _require_names(model, dataset)
    scores = _probe(model, dataset)
    probed = min(len(dataset), _PROBE_SAMPLES)
    expected = f"expected scores ({probed}, classes{''.join(f', {size}' for size in labels.shape[1:])}) of floats"
    if not isinstance(scores, Tensor):
        raise InputError(f"{dataset.name}: the model returns {type(scores).__name__}; {expected}.")
    found = (scores.shape[0], *scores.shape[2:]) if scores.ndim >= 2 else ()
    if found != (probed, *labels.shape[1:]) or not scores.is_floating_point():
        raise InputError(f"{dataset.name}: the model returns {scores.dtype} {tuple(scores.shape)}; {expected}.")
    if labels.max() >= scores.shape[1]:
        raise InputError(f"{dataset.name}: label {labels.max()}, but the model has {scores.shape[1]} classes.")


def require_trainable(model: nn.Module, batch: Batch) -> None:
    """Check that the model takes a minibatch in training mode, where Batch Normalization refuses single values.

    Buffers, which the pass may change, are put back.

    Raises:
        InputError: it does not.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        call(model, to_tensors(batch.inputs, device_of(model)))
        for name, buffer in model.named_buffers():
            buffer.copy_(before.get(name, buffer))


def _require_class_numbers(dataset: Dataset) -> Array:
    if dataset.labels is None:
        raise InputError(f"{dataset.name}: no labels; training and accuracy need them.")
    if dataset.labels.dtype.kind not in "biu":
        raise InputError(f"{dataset.name}: labels are {dataset.labels.dtype}, expected class numbers (integers).")
    if dataset.labels.min() < 0:
        raise InputError(f"{dataset.name}: label {dataset.labels.min()}, expected class numbers from 0.")
    return dataset.labels


def _require_names(model: nn.Module, dataset: Dataset) -> None:
    if len(dataset.inputs) == 1:
        return
    signature = inspect.signature(model.forward)
    try:
        signature.bind(**dict.fromkeys(dataset.inputs))
    except TypeError as error:
        names = ", ".join(dataset.inputs)
        raise InputError(f"{dataset.name}: inputs {names} do not fit forward{signature}: {error}.") from error


def _probe(model: nn.Module, dataset: Dataset) -> object:
    inputs = dataset.take(min(len(dataset), _PROBE_SAMPLES)).inputs
    try:
        with evaluating(model), torch.no_grad():
            return call(model, to_tensors(inputs, device_of(model)))
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from error
