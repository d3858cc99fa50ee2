"""Weights that a module computes from other parameters, made parameters of their own."""

import copy
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from bnfold.errors import InputError


def copied(module: nn.Module) -> nn.Module:
    """Return a deep copy.

    Raises:
        InputError: torch cannot copy it.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:  # whatever a part's own __deepcopy__ raises, and torch's refusals of all types
        reason = str(error).strip().partition("\n")[0]
        message = f"{type(module).__name__}: torch cannot copy it: {reason}"
        raise InputError(
            f"{message}; parametrizations in place of torch.nn.utils.weight_norm can be copied."
        ) from error


def with_plain_weights(module: nn.Module) -> nn.Module:
    """Return the module, or a copy of it in which every parametrized tensor is a plain one of its present value."""
    if not any(parametrize.is_parametrized(part) for part in module.modules()):
        return module
    plain = copied(module)
    for part in plain.modules():
        if parametrize.is_parametrized(part):
            for name in list(_parametrizations(part)):
                make_plain(part, name)
    return plain


def make_plain(part: nn.Module, name: str) -> None:
    """Let a tensor of a module be a parameter again, if it is parametrized, of the value that it has now."""
    if parametrize.is_parametrized(part, name):
        _give_own_class(part)
        trained = any(tensor.requires_grad for tensor in _parametrizations(part)[name].parameters())
        parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        tensor = getattr(part, name)
        assert isinstance(tensor, Tensor)
        if not isinstance(tensor, nn.Parameter):  # computed from several tensors, it is left behind as a buffer
            delattr(part, name)
        setattr(part, name, nn.Parameter(tensor.detach(), requires_grad=trained))


def _give_own_class(part: nn.Module) -> None:
    """Part a module's class from that of the module that it was copied from: torch keeps the parametrization there."""
    shared = type(part)
    own = {name: member for name, member in vars(shared).items() if name not in {"__dict__", "__weakref__"}}
    part.__class__ = cast(type[nn.Module], type(shared.__name__, shared.__bases__, own))


def _parametrizations(part: nn.Module) -> nn.ModuleDict:
    parametrizations = part.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    return parametrizations
