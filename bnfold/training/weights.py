"""Weights that come from elsewhere: safetensors, or what ``torch.save`` wrote, read without running anything in it."""

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from bnfold.data.factories import one_line
from bnfold.errors import InputError
from bnfold.files import require_file
from bnfold.training.tensors import read_tensors

_NESTED = ("state_dict", "model_state_dict", "model", "module", "network", "net")
"""Where checkpoints keep a model's state dict, beside the optimizer's and more."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What DistributedDataParallel, torch.compile and the trainers around a model put in front of its names."""
_TOLD = 3


def load_weights(model: nn.Module, path: Path) -> None:
    """Give ``model`` the weights in ``path``.

    Raises:
        InputError: the file cannot be read, holds no weights, or others than the model has.
    """
    weights = _named_as(read_state_dict(path), model.state_dict())
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        found = "; ".join(_differences(weights, model.state_dict())) or one_line(error)
        raise InputError(f"{path}: does not fit the model: {found}.") from error
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: {name} holds values that are not finite.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name, on the CPU.

    A file whose name ends with ``.safetensors`` is one; any other is unpickled with nothing allowed but tensors
    (``torch.load(weights_only=True)``). In a checkpoint the state dict is looked for under the usual keys.

    Raises:
        InputError: the file cannot be read, or holds anything else.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other protocols, which are refused or are read
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors, or is no file of torch.save; nothing in it was run. Save the weights "
            "alone: torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:  # a damaged archive raises what the unpickler stumbles on
        raise InputError(f"{path}: not readable as a file of torch.save: {one_line(error)}.") from error
    return _state_dict(path, content)


def _state_dict(path: Path, content: object) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        found = cast("Mapping[object, object]", content)
        if found and all(isinstance(value, Tensor) for value in found.values()):
            return {str(name): cast("Tensor", value) for name, value in found.items()}
        nested = next((key for key in _NESTED if isinstance(found.get(key), Mapping)), None)
        if nested is None:
            keys = ", ".join(str(key) for key in list(found)[:8])
            raise InputError(f"{path}: no state dict: it has {keys or 'nothing'}; expected {', '.join(_NESTED)}.")
        content = found[nested]
    raise InputError(f"{path}: holds {type(content).__name__}, expected a state dict: tensors by name.")


def _named_as(weights: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Return the weights without what stands in front of every name, unless the model has it too."""
    names, wanted = dict(weights), set(wanted)
    for prefix in _PREFIXES * 2:  # one may hide behind another
        if names and not wanted & set(names) and all(name.startswith(prefix) for name in names):
            names = {name.removeprefix(prefix): tensor for name, tensor in names.items()}
    return names


def _differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Return what is missing, too much, or of another shape, a few names of each."""
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    unknown = [name for name in found if name not in wanted]
    others = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    lists = (("the file lacks", missing), ("the model does not know", unknown))
    return [f"{what} {_some(names)}" for what, names in lists if names] + ([_some(others)] if others else [])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
