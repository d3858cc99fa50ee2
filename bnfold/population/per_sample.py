"""Whether a captured forward pass treats samples apart, so that batches may be joined and cut.

The property is that a step commutes with concatenation along the leading axis::

    f(concat(a, b)) = concat(f(a), f(b))

A composition of such steps has it too, so it is looked for step by step, in the tables below: a step that they do not
hold, such as a mean over the leading axis, a module of the user's or one with hooks, is taken to mix samples.
"""

import operator
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple

import torch
from torch import Size, Tensor, fx, nn
from torch.nn import functional

import bnfold.nn
from bnfold.population.program import Environment, Program


class Kind(Enum):
    """What a value becomes when two batches are concatenated."""

    ROWS = auto()
    """A tensor, or tuple of tensors: the concatenation of what the two give."""
    COUNT = auto()
    """A number: their sum, as of the leading extent."""
    SHAPE = auto()
    """The extents of such a tensor: the first is a count, the others stay."""
    FIXED = auto()
    """What does not depend on the batch."""


class _Given(NamedTuple):
    kind: Kind
    value: Any


class _Step(NamedTuple):
    """A step that is about to run on one sample."""

    node: fx.Node
    given: Mapping[fx.Node, _Given]

    @property
    def inputs(self) -> list[_Given]:
        return [self.given[node] for node in self.node.all_input_nodes]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument as the graph has it: a constant, or what was given for a node."""
        args, kwargs = self.node.args, self.node.kwargs
        raw = args[position] if position < len(args) else kwargs.get(name, default)
        return self.given[raw] if isinstance(raw, fx.Node) else raw


_Rule = Callable[[_Step], Kind | None]
"""The kind of what a step gives; None where it may mix samples."""


def bytes_per_sample(program: Program, environment: Environment) -> int | None:
    """Return the size of the largest value on the way of one sample; None where a step may mix samples.

    The first sample of a batch is sent along the steps, which tells the ranks that the rules ask for.

    Args:
        program: the forward pass.
        environment: what the pass on that batch begins with.
    """
    if not can_be_cut(environment):
        return None
    values = {node: value[:1] if isinstance(value, Tensor) else value for node, value in environment.items()}
    given = {n: _Given(Kind.ROWS if isinstance(v, Tensor) else Kind.FIXED, v) for n, v in values.items()}
    *steps, last = program.nodes
    for node in steps:
        if node.op == "placeholder":
            continue
        kind = _kind(program, _Step(node, given))
        if kind is None:
            return None
        try:
            values[node] = program.compute(node, values)
        except Exception:  # whatever torch raises: the walk meets it on the whole batch, and says more
            return None
        given[node] = _Given(kind, values[node])
    if any(value.kind is not Kind.ROWS for value in _Step(last, given).inputs):
        return None
    return max(value.nbytes for value in values.values() if isinstance(value, Tensor))


def can_be_cut(environment: Environment) -> bool:
    """Return whether all tensors are plain ones with one and the same number of rows, and there are any."""
    tensors = [value for value in environment.values() if isinstance(value, Tensor)]
    plain = all(type(t) is Tensor and t.layout is torch.strided and t.ndim > 0 for t in tensors)
    others = (value for value in environment.values() if not isinstance(value, Tensor))
    constant = all(value is None or isinstance(value, int | float | str) for value in others)
    return plain and constant and len({len(tensor) for tensor in tensors} - {0}) == 1


def _kind(program: Program, step: _Step) -> Kind | None:
    target: Any = step.node.target
    match step.node.op:
        case "call_module":
            return _module(program.module(step.node), step)
        case "call_function":
            rule = _FUNCTIONS.get(target)
        case "call_method":
            rule = _METHODS.get(target)
        case _:
            return Kind.FIXED
    return None if rule is None else rule(step)


def _module(module: nn.Module, step: _Step) -> Kind | None:
    hooks = module._forward_pre_hooks, module._forward_hooks  # pyright: ignore[reportPrivateUsage]  # not public
    is_changed = any(hooks) or "forward" in vars(module)
    holds = None if is_changed else _MODULES.get(type(module))
    inputs = step.inputs
    if holds is None or not inputs or any(value.kind is not Kind.ROWS for value in inputs):
        return None
    values = inputs[0].value
    return Kind.ROWS if isinstance(values, Tensor) and holds(module, values.ndim) else None


def _elementwise(step: _Step) -> Kind | None:
    rows = [given.value for given in step.inputs if given.kind is Kind.ROWS]
    fixed = [given.value for given in step.inputs if given.kind is Kind.FIXED]
    if len(rows) + len(fixed) < len(step.inputs):
        return None
    if not rows:
        return Kind.FIXED
    # Ranks that differ would set the samples of one beside another axis of the other.
    ranks = {value.ndim if isinstance(value, Tensor) else 0 for value in rows}
    beside = [value for value in fixed if isinstance(value, Tensor) and value.ndim > 0]
    rank = min(ranks)
    aligned = all(value.ndim < rank or (value.ndim == rank and len(value) == 1) for value in beside)
    return Kind.ROWS if len(ranks) == 1 and rank > 0 and aligned else None


def _product(step: _Step) -> Kind | None:
    kinds = [given.kind for given in step.inputs]
    is_multiple = kinds.count(Kind.COUNT) == 1 and set(kinds) <= {Kind.COUNT, Kind.FIXED}
    integers = all(isinstance(g.value, int) for g in step.inputs)
    integers &= all(isinstance(argument, fx.Node | int) for argument in step.node.args)
    return Kind.COUNT if is_multiple and integers else _elementwise(step)


def _first_rows(step: _Step) -> Tensor | None:
    """Return the first argument where it is a tensor of rows, and the only one that depends on the batch."""
    inputs = step.inputs
    if not inputs or inputs[0].kind is not Kind.ROWS or not isinstance(inputs[0].value, Tensor):
        return None
    return inputs[0].value if all(value.kind is Kind.FIXED for value in inputs[1:]) else None


def _along(position: int, name: str, default: Any = None, *, new_axes: int = 0) -> _Rule:
    """Return the rule of what acts along axes that are given by number, none of which may be the leading one."""

    def rule(step: _Step) -> Kind | None:
        rows = _first_rows(step)
        axes = step.argument(position, name, default)
        if rows is None or axes is None:
            return None
        return Kind.ROWS if _misses_leading(axes, rows.ndim + new_axes) else None

    return rule


def _misses_leading(axes: Any, rank: int) -> bool:
    every = axes if isinstance(axes, tuple | list) else (axes,)
    return len(every) > 0 and all(type(axis) is int and axis % rank != 0 for axis in every)


def _transposed(step: _Step) -> Kind | None:
    rows = _first_rows(step)
    if rows is None:
        return None
    axes = [step.argument(1, "dim0"), step.argument(2, "dim1")]
    return Kind.ROWS if _misses_leading(axes, rows.ndim) else None


def _permuted(step: _Step) -> Kind | None:
    rows, axes = _first_rows(step), _variadic(step, "dims")
    if rows is None or not axes or type(axes[0]) is not int:
        return None
    return Kind.ROWS if axes[0] % rows.ndim == 0 else None


def _joined(step: _Step) -> Kind | None:
    values = [given.value for given in step.inputs]
    if any(given.kind is not Kind.ROWS for given in step.inputs) or not all(isinstance(v, Tensor) for v in values):
        return None
    return Kind.ROWS if _misses_leading(step.argument(1, "dim", 0), values[0].ndim) else None


def _reshaped(step: _Step) -> Kind | None:
    """A leading extent that grows with the samples, or is left to be found, and others that stay: order is kept."""
    extents = _variadic(step, "shape")
    first = step.inputs[0] if step.inputs else None
    if first is None or first.kind is not Kind.ROWS or not isinstance(first.value, Tensor) or not extents:
        return None
    leading, *others = extents
    grows = leading == -1 or (isinstance(leading, _Given) and leading.kind is Kind.COUNT)
    stay = all(type(extent) is int or (isinstance(extent, _Given) and extent.kind is Kind.FIXED) for extent in others)
    return Kind.ROWS if grows and stay else None


def _variadic(step: _Step, name: str) -> list[Any]:
    """Return the numbers behind the first argument, which may stand in a sequence of their own."""
    raw = step.node.args[1:] or (step.node.kwargs.get(name, ()),)
    numbers = raw[0] if len(raw) == 1 and isinstance(raw[0], tuple | list) else raw
    return [step.given[number] if isinstance(number, fx.Node) else number for number in numbers]


def _size(step: _Step) -> Kind | None:
    rows, axis = _first_rows(step), step.argument(1, "dim")
    if rows is None or not (axis is None or type(axis) is int):
        return None
    return Kind.SHAPE if axis is None else (Kind.COUNT if axis % rows.ndim == 0 else Kind.FIXED)


def _attribute(step: _Step) -> Kind | None:
    name = step.argument(1, "name")
    if _first_rows(step) is None:
        return _elementwise(step)
    return Kind.SHAPE if name == "shape" else (Kind.FIXED if name in {"ndim", "dtype", "device"} else None)


def _rank(step: _Step) -> Kind | None:
    return None if _first_rows(step) is None else Kind.FIXED


def _dropout(step: _Step) -> Kind | None:
    return _elementwise(step) if step.argument(2, "training", True) is False else None


def _item(step: _Step) -> Kind | None:
    index = step.argument(1, "b")
    if len(step.inputs) != 1:
        return None
    kind, value = step.inputs[0]
    match kind, value:
        case Kind.SHAPE, Size() if type(index) is int:
            return Kind.COUNT if index % len(value) == 0 else Kind.FIXED
        case Kind.SHAPE, Size() if isinstance(index, slice):
            return Kind.FIXED if _is_constant(index) and 0 not in range(len(value))[index] else None
        case Kind.ROWS, tuple() | list() if type(index) is int:
            return Kind.ROWS
        case Kind.ROWS, Tensor() if isinstance(index, tuple) and index:
            return Kind.ROWS if index[0] == slice(None) and Ellipsis not in index else None
        case Kind.FIXED, _:
            return Kind.FIXED
        case _:
            return None


def _is_constant(index: slice) -> bool:
    return all(part is None or type(part) is int for part in (index.start, index.stop, index.step))


def _of_rank(least: int) -> _Rule:
    """Return the rule of what acts on the trailing axes of values of at least this rank."""

    def rule(step: _Step) -> Kind | None:
        rows = _first_rows(step)
        return Kind.ROWS if rows is not None and rows.ndim >= least else None

    return rule


def _matrix_product(step: _Step) -> Kind | None:
    """Products of matrices along the last two axes, the leading one of three or more being left alone."""
    left, right = step.argument(0, "input"), step.argument(1, "other")
    if not isinstance(left, _Given) or not isinstance(right, _Given) or left.kind is not Kind.ROWS:
        return None
    if not isinstance(left.value, Tensor) or not isinstance(right.value, Tensor):
        return None
    ranks = left.value.ndim, right.value.ndim
    if right.kind is Kind.FIXED:
        return Kind.ROWS if ranks[0] >= 2 and ranks[1] <= 2 else None
    return Kind.ROWS if right.kind is Kind.ROWS and ranks[0] == ranks[1] >= 3 else None


_ELEMENTWISE: Final = (
    *("abs", "add", "clamp", "clip", "cos", "div", "eq", "exp", "float", "ge", "gt", "hardtanh", "le", "log", "lt"),
    *("maximum", "minimum", "ne", "neg", "pow", "relu", "relu_", "rsqrt", "sigmoid", "sigmoid_", "sin", "sqrt"),
    *("square", "sub", "tanh", "tanh_", "where"),
)

_ACTIVATIONS: Final = (
    *("celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu"),
    *("relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh"),
)

_METHODS: Final[dict[str, _Rule]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("add_", "sub_", "div_", "clone", "contiguous", "detach"), _elementwise),
    **dict.fromkeys(("mul", "mul_"), _product),
    **dict.fromkeys(("view", "reshape"), _reshaped),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "softmax", "log_softmax", "squeeze"), _along(1, "dim")),
    **dict.fromkeys(("chunk", "split"), _along(2, "dim", 0)),
    "flatten": _along(1, "start_dim", 0),
    "unsqueeze": _along(1, "dim", new_axes=1),
    "transpose": _transposed,
    "permute": _permuted,
    "matmul": _matrix_product,
    "size": _size,
    "dim": _rank,
}

_FUNCTIONS: Final[dict[Any, _Rule]] = {
    **{getattr(torch, name): _elementwise for name in _ELEMENTWISE if hasattr(torch, name)},
    **{getattr(functional, name): _elementwise for name in _ACTIVATIONS},
    **dict.fromkeys((operator.add, operator.sub, operator.truediv, operator.neg, operator.pow), _elementwise),
    **dict.fromkeys((operator.iadd, operator.isub, operator.itruediv), _elementwise),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul), _product),
    **dict.fromkeys((torch.mean, torch.sum, torch.amax, torch.amin, torch.squeeze), _along(1, "dim")),
    **dict.fromkeys((torch.softmax, functional.softmax, functional.log_softmax), _along(1, "dim")),
    **dict.fromkeys((torch.chunk, torch.split), _along(2, "dim", 0)),
    **dict.fromkeys((torch.cat, torch.concat), _joined),
    **dict.fromkeys((torch.matmul, operator.matmul), _matrix_product),
    **dict.fromkeys((functional.adaptive_avg_pool2d, functional.avg_pool2d, functional.max_pool2d), _of_rank(3)),
    **dict.fromkeys((functional.adaptive_avg_pool1d, functional.avg_pool1d, functional.max_pool1d), _of_rank(2)),
    functional.interpolate: _of_rank(3),
    functional.dropout: _dropout,
    torch.flatten: _along(1, "start_dim", 0),
    torch.unsqueeze: _along(1, "dim", new_axes=1),
    torch.transpose: _transposed,
    torch.permute: _permuted,
    torch.reshape: _reshaped,
    getattr: _attribute,
    operator.getitem: _item,
}


def _at_least(rank: int) -> Callable[[Any, int], bool]:
    return lambda _, found: found >= rank


def _has_statistics(module: Any, _: int) -> bool:
    return module.running_mean is not None and module.running_var is not None


def _names(*names: str) -> list[type[nn.Module]]:
    return [getattr(nn, name) for name in names]


_ANY_RANK: Final = _names(
    *("AlphaDropout", "CELU", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "ELU", "FeatureAlphaDropout", "GELU"),
    *("Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "LogSigmoid", "Mish", "PReLU"),
    *("ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink"),
)

_MODULES: Final[dict[type[nn.Module], Callable[[Any, int], bool]]] = {
    **dict.fromkeys(_ANY_RANK, _at_least(1)),
    **dict.fromkeys(_names("Embedding"), _at_least(1)),
    **dict.fromkeys(_names("Linear", "GroupNorm", "MaxPool1d", "AvgPool1d", "AdaptiveAvgPool1d"), _at_least(2)),
    **dict.fromkeys(_names("Conv1d", "ConvTranspose1d", "LocalResponseNorm", "MaxPool2d", "AvgPool2d"), _at_least(3)),
    **dict.fromkeys(_names("AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "Upsample", "UpsamplingNearest2d"), _at_least(3)),
    **dict.fromkeys(_names("Conv2d", "ConvTranspose2d", "PixelShuffle", "PixelUnshuffle"), _at_least(4)),
    **dict.fromkeys(_names("ChannelShuffle", "MaxPool3d", "AvgPool3d", "AdaptiveAvgPool3d"), _at_least(4)),
    **dict.fromkeys(_names("Conv3d", "ConvTranspose3d"), _at_least(5)),
    **dict.fromkeys(_names("ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d"), _at_least(3)),
    **dict.fromkeys(_names("ZeroPad1d", "ConstantPad1d", "ReflectionPad1d", "ReplicationPad1d"), _at_least(2)),
    **dict.fromkeys(_names("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"), _has_statistics),
    **dict.fromkeys((bnfold.nn.BatchNorm1d, bnfold.nn.BatchNorm2d, bnfold.nn.BatchNorm3d), _has_statistics),
    nn.LayerNorm: lambda module, rank: rank > len(module.normalized_shape),
    nn.Flatten: lambda module, rank: module.start_dim % rank != 0,
    nn.Unflatten: lambda module, rank: type(module.dim) is int and module.dim % rank != 0,
    nn.Softmax: lambda module, rank: module.dim is not None and module.dim % rank != 0,
}
"""Modules of torch, of just these classes, and whether they leave the leading axis of a value of a rank alone."""
