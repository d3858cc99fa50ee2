"""A batch through a model, and whether a model and a data set fit at all."""

import inspect
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from bnfold.data.dataset import Array, Batch, Dataset
from bnfold.data.factories import one_line
from bnfold.errors import BnfoldError, InputError
from bnfold.training.losses import Loss
from bnfold.training.metrics import Metric
from bnfold.training.replicas import is_lost_connection

_PROBE_SAMPLES = 2
_COMPILER = ("torch._inductor", "torch._dynamo")


def to_tensors(arrays: Mapping[str, Array], device: torch.device, *, channels_last: bool = False) -> dict[str, Tensor]:
    """Return ``arrays`` on ``device``, copied unless the array is nobody else's; images channels last if asked."""
    tensors = {name: _own(array).to(device) for name, array in arrays.items()}
    if not channels_last:
        return tensors
    return {name: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for name, x in tensors.items()}


def to_labels(labels: Array, device: torch.device) -> Tensor:
    """Return labels as losses take them: whole numbers as int64, floats as they are."""
    found = _own(labels).to(device)
    return found if found.is_floating_point() else found.long()


def _own(array: Array) -> Tensor:
    """Return a tensor that no other array sees: what is selected by an index array is a copy already."""
    return torch.from_numpy(array) if array.flags.owndata and array.flags.writeable else torch.tensor(array)


def call(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """Return the model's output; a single input is passed by position, several by name.

    Raises:
        InputError: the model raises, which it does on shapes and types that it is not made for.
    """
    try:
        return model(next(iter(inputs.values()))) if len(inputs) == 1 else model(**inputs)
    except BnfoldError:
        raise
    except Exception as error:
        if is_lost_connection(error):
            raise
        if type(error).__module__.startswith(_COMPILER):
            # Behind the reason it tells what to set to debug the compiler.
            reason, _, _ = one_line(error).partition(" Set TORCH")
            raise InputError(f"compile: {reason}; install what is missing, or train with --no-compile.") from error
        given = ", ".join(
            f"{name} {str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for name, x in inputs.items()
        )
        raise InputError(f"the model does not take {given}: {one_line(error)}.") from error


def map_tensors(function: Callable[[Tensor], Tensor], outputs: Any) -> Any:
    """Return what a model returned, tensors in dicts, lists and tuples changed by ``function``."""
    if isinstance(outputs, Tensor):
        return function(outputs)
    if isinstance(outputs, Mapping):
        return {key: map_tensors(function, value) for key, value in cast("Mapping[Any, Any]", outputs).items()}
    if isinstance(outputs, Sequence) and not isinstance(outputs, str | bytes):
        mapped = [map_tensors(function, value) for value in cast("Sequence[Any]", outputs)]
        return tuple(mapped) if isinstance(outputs, tuple) else mapped
    return outputs


def widened(outputs: Any) -> Any:
    """Return outputs with half-precision tensors as float32, which is what losses are computed in."""
    return map_tensors(lambda x: x.float() if x.dtype in _HALF else x, outputs)


_HALF = (torch.float16, torch.bfloat16)


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


def require_fit(model: nn.Module, dataset: Dataset, loss: Loss | None = None, metrics: Collection[Metric] = ()) -> None:
    """Check that the model takes the data, and that loss and metrics take what it returns.

    Where class numbers are asked for, that is scores ``(N, classes, *target)``, labels ``(N, *target)`` from 0 to
    classes − 1. Two samples go through the model in evaluation mode; its parameters, buffers and modes stay.

    Raises:
        InputError: no labels, labels that are no class numbers, inputs that the model does not take, other outputs.
    """
    loss = loss or Loss()
    of_classes = loss.of_classes or any(metric.of_classes for metric in metrics)
    labels = _require_class_numbers(dataset) if of_classes else _require_labels(dataset)
    _require_names(model, dataset)
    outputs = _probe(model, dataset)
    if of_classes:
        _require_scores(dataset, labels, outputs)
    try:
        loss(widened(outputs), to_labels(labels[:_PROBE_SAMPLES], device_of(model)))
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from error


def _require_scores(dataset: Dataset, labels: Array, scores: object) -> None:
    probed = min(len(dataset), _PROBE_SAMPLES)
    expected = f"expected scores ({probed}, classes{''.join(f', {size}' for size in labels.shape[1:])}) of floats"
    if not isinstance(scores, Tensor):
        raise InputError(
            f"{dataset.name}: the model returns {type(scores).__name__}; {expected}, or loss and metrics of your own."
        )
    found = (scores.shape[0], *scores.shape[2:]) if scores.ndim >= 2 else ()
    if found != (probed, *labels.shape[1:]) or not scores.is_floating_point():
        raise InputError(f"{dataset.name}: the model returns {scores.dtype} {tuple(scores.shape)}; {expected}.")
    if labels.max() >= scores.shape[1]:
        raise InputError(f"{dataset.name}: label {labels.max()}, but the model has {scores.shape[1]} classes.")


def require_trainable(model: nn.Module, batch: Batch, loss: Loss) -> None:
    """Check that the model takes a minibatch in training mode, where Batch Normalization refuses single values.

    What it returns there may be other than in evaluation mode; the loss has to take it, and to have a gradient.
    Buffers, which the pass may change, are put back.

    Raises:
        InputError: it does not.
    """
    assert batch.labels is not None
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    device = device_of(model)
    value = loss(widened(call(model, to_tensors(batch.inputs, device))), to_labels(batch.labels, device))
    if not value.requires_grad:
        raise InputError(f"loss {loss.spec}: has no gradient: it depends on no parameter that can be trained.")
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(before.get(name, buffer))


def _require_labels(dataset: Dataset) -> Array:
    if dataset.labels is None:
        raise InputError(
            f"{dataset.name}: no labels; training and accuracy need them: the array y of an npz file, the labels of a "
            "Dataset."
        )
    return dataset.labels


def _require_class_numbers(dataset: Dataset) -> Array:
    labels = _require_labels(dataset)
    if labels.dtype.kind not in "biu":
        raise InputError(f"{dataset.name}: labels are {labels.dtype}, expected class numbers (integers).")
    if labels.min() < 0:
        raise InputError(f"{dataset.name}: label {labels.min()}, expected class numbers from 0.")
    return labels


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
