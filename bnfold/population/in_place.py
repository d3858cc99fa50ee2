"""Steps of a captured forward pass that may write over an input that nobody needs any more.

A walk holds every batch at once, so that memory which a step can do without is memory that no one has to fetch first:
on large values this halves the time of an activation. A step writes over its input where

1. no later step reads that input;
2. the step that computed it made a new tensor, and every other step that reads it does too, so that no other value
   lies in its memory;
3. none of these steps is a module with hooks, which might keep what they see.
"""

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

import bnfold.nn

Overwriting = Callable[..., Any]
"""Computes a step into its input; takes the arguments of the step."""


def overwriting(
    nodes: tuple[fx.Node, ...], last_use: Mapping[fx.Node, tuple[fx.Node, ...]], modules: Mapping[str, nn.Module]
) -> dict[fx.Node, Overwriting]:
    """Return the steps that may write over an input, and what computes them so.

    Args:
        nodes: the steps in their order.
        last_use: for each step, the values that no later one needs.
        modules: by the name that steps call them by.
    """
    known = set(nodes)
    fresh = {node for node in nodes if _makes_new(node, modules)}
    found: dict[fx.Node, Overwriting] = {}
    for node in nodes:
        compute = _in_place(node, modules)
        value = node.args[0] if node.args else None
        if compute is None or not isinstance(value, fx.Node) or value not in fresh:
            continue
        others = [user for user in value.users if user in known and user is not node]
        if value in last_use.get(node, ()) and all(user in fresh for user in others):
            found[node] = compute
    return found


def _makes_new(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    target: Any = node.target
    match node.op:
        case "call_module":
            module = modules[target]
            return type(module) in _FRESH_MODULES and not getattr(module, "inplace", False) and not _is_watched(module)
        case "call_function":
            is_in_place = target is functional.relu and (len(node.args) > 1 or node.kwargs.get("inplace", False))
            return target in _FRESH_FUNCTIONS and not is_in_place
        case "call_method":
            return target in _FRESH_METHODS
        case _:
            return False


def _in_place(node: fx.Node, modules: Mapping[str, nn.Module]) -> Overwriting | None:
    target: Any = node.target
    compute: Overwriting | None = None
    match node.op:
        case "call_module" if not _is_watched(modules[target]) and type(modules[target]) in _MODULES:
            compute = partial(_MODULES[type(modules[target])], modules[target])
        case "call_function":
            compute = _FUNCTIONS.get(target)
        case "call_method":
            compute = _METHODS.get(target)
        case _:
            pass
    operands = 2 if compute in {_sum, _product} else 1
    # torch.fx writes a default of ``functional.relu`` out.
    says_more = {name: value for name, value in node.kwargs.items() if (name, value) != ("inplace", False)}
    return compute if len(node.args) == operands and not says_more else None


def _is_watched(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks, module._forward_hooks  # pyright: ignore[reportPrivateUsage]  # not public
    return any(hooks) or "forward" in vars(module)


def _normalize(layer: _BatchNorm, values: Tensor) -> Tensor:
    """Compute ``layer(values)`` in eval mode, in place where its kernel can: on CPUs, all in one type."""
    mean, variance = layer.running_mean, layer.running_var
    tensors = [tensor for tensor in (mean, variance, layer.weight, layer.bias) if tensor is not None]
    layer._check_input_dim(values)  # pyright: ignore[reportPrivateUsage]  # what its forward begins with
    if mean is None or values.device.type != "cpu" or any(tensor.dtype != values.dtype for tensor in tensors):
        return layer(values)
    saved = values.new_empty(0), values.new_empty(0)
    torch.native_batch_norm(
        values, layer.weight, layer.bias, mean, variance, False, 0.0, layer.eps, out=(values, *saved)
    )
    return values


def _arithmetic(in_place: Callable[[Tensor, Any], Any], otherwise: Callable[[Any, Any], Any]) -> Overwriting:
    def compute(left: Any, right: Any) -> Any:
        fits = isinstance(right, int | float) or (isinstance(right, Tensor) and _fits(right, left))
        return in_place(left, right) if fits and left.is_floating_point() else otherwise(left, right)

    return compute


def _fits(operand: Tensor, result: Tensor) -> bool:
    is_broadcast = operand.shape == result.shape or torch.broadcast_shapes(operand.shape, result.shape) == result.shape
    return is_broadcast and operand.dtype == result.dtype


_sum: Final = _arithmetic(Tensor.add_, operator.add)
_product: Final = _arithmetic(Tensor.mul_, operator.mul)

_MODULES: Final[Mapping[type[nn.Module], Callable[[Any, Tensor], Tensor]]] = {
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _normalize),
    **dict.fromkeys((bnfold.nn.BatchNorm1d, bnfold.nn.BatchNorm2d, bnfold.nn.BatchNorm3d), _normalize),
    nn.ReLU: lambda _, values: torch.relu_(values),
    nn.ReLU6: lambda _, values: functional.relu6(values, inplace=True),
    nn.LeakyReLU: lambda module, values: functional.leaky_relu_(values, module.negative_slope),
    nn.SiLU: lambda _, values: functional.silu(values, inplace=True),
    nn.Hardswish: lambda _, values: functional.hardswish(values, inplace=True),
    nn.Sigmoid: lambda _, values: torch.sigmoid_(values),
    nn.Tanh: lambda _, values: torch.tanh_(values),
}

_FUNCTIONS: Final[Mapping[Any, Overwriting]] = {
    torch.relu: torch.relu_,
    functional.relu: lambda values, **_: torch.relu_(values),
    torch.sigmoid: torch.sigmoid_,
    torch.tanh: torch.tanh_,
    **dict.fromkeys((operator.add, torch.add), _sum),
    **dict.fromkeys((operator.mul, torch.mul), _product),
}

_METHODS: Final[Mapping[str, Overwriting]] = {
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
    "add": _sum,
    "mul": _product,
}

_FRESH_MODULES: Final[frozenset[type[nn.Module]]] = frozenset(_MODULES) | {
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
}
"""Modules of just these classes whose output lies in memory of its own."""

_FRESH_FUNCTIONS: Final[frozenset[Any]] = frozenset(_FUNCTIONS) | {torch.cat, torch.mean, operator.sub, torch.sub}

_FRESH_METHODS: Final = frozenset(_METHODS) | {"mean", "sub"}
