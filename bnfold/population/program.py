"""The graph of a model, captured by ``torch.fx``, run node by node up to a BN layer and on from there.

``torch.fx`` records a forward pass over symbols in place of tensors, with the modules of ``torch.nn`` and the BN layers
as its steps. It needs no example, takes milliseconds, and refuses whatever looks at a value or an extent, so that what
it does record holds for every batch of any size.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.errors import InputError
from bnfold.population.arguments import bound_arguments
from bnfold.population.in_place import Overwriting, overwriting

Environment = dict[fx.Node, Any]
"""Values by the node that computed them, those that are still needed."""


class NotCaptured(Exception):
    """The model cannot be captured; says why, in words that end a sentence."""


@dataclass(frozen=True, eq=False)
class Program:
    """The steps of a forward pass.

    Attributes:
        model: whose modules are run.
        nodes: the steps in the order of the forward pass, up to the last BN layer; what comes after is left out.
        batch_norms: the steps that call a BN layer, in that order, and the layer's name.
    """

    model: nn.Module
    nodes: tuple[fx.Node, ...]
    batch_norms: Mapping[fx.Node, str]
    _constants: Mapping[str, Any]
    _modules: Mapping[str, nn.Module]
    _last_use: Mapping[fx.Node, tuple[fx.Node, ...]]
    overwriting: Mapping[fx.Node, Overwriting]

    def begin(self, batch: object) -> Environment:
        """Return the environment that the forward pass on ``batch`` begins with.

        Raises:
            InputError: ``batch`` is not of the kind that the pass was recorded for.
        """
        arguments = bound_arguments(self.model, batch)
        found = _constants(arguments)
        for name in (*found, *self._constants):
            here, first = (_in_words(values, name) for values in (found, self._constants))
            if here != first:
                advice = "give every batch the same arguments, or pass a forward_fn"
                raise InputError(f"batch: {name} is {here}, in the first batch {first}; {advice}.")
        placeholders = (node for node in self.nodes if node.op == "placeholder")
        # The sizes agree, see `capture`; placeholders behind the last BN layer do not exist.
        return dict(zip(placeholders, arguments.values(), strict=True))

    def run(self, node: fx.Node, environment: Environment) -> None:
        """Compute one step, and drop what is needed no longer."""
        if node.op != "placeholder":
            environment[node] = self.compute(node, environment)
        self.drop_dead(node, environment)

    def drop_dead(self, node: fx.Node, environment: Environment) -> None:
        """Drop what no step behind this one needs."""
        for dead in self._last_use.get(node, ()):
            del environment[dead]

    def module(self, node: fx.Node) -> nn.Module:
        """Return the module that a step calls."""
        return self._modules[str(node.target)]

    def modules(self) -> Iterator[nn.Module]:
        """Yield the modules that are steps of their own."""
        yield from (self.module(node) for node in self.nodes if node.op == "call_module")

    def arguments_of(self, node: fx.Node, environment: Environment) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments that a step is about to be given."""
        return fx.map_arg(node.args, environment.__getitem__), fx.map_arg(node.kwargs, environment.__getitem__)

    def compute(self, node: fx.Node, environment: Environment) -> Any:
        """Return what a step computes; one that refuses channels-last values, such as a view, gets contiguous ones."""
        try:
            return self._compute(node, environment)
        except RuntimeError:
            values = {id(environment[argument]): environment[argument] for argument in node.all_input_nodes}
            ordered = {key: _contiguous(value) for key, value in values.items()}
            if all(ordered[key] is values[key] for key in values):
                raise
            # Other names of a value have to go on sharing its storage.
            environment.update({n: ordered[id(v)] for n, v in environment.items() if id(v) in ordered})
            return self._compute(node, environment)

    def _compute(self, node: fx.Node, environment: Environment) -> Any:
        args, kwargs = self.arguments_of(node, environment)
        if node in self.overwriting:
            return self.overwriting[node](*args, **kwargs)
        target: Any = node.target
        match node.op:
            case "call_module":
                return self._modules[target](*args, **kwargs)
            case "call_function":
                return target(*args, **kwargs)
            case "call_method":
                return getattr(args[0], target)(*args[1:], **kwargs)
            case _:
                assert node.op == "get_attr", node.op
                return _attribute(self.model, target)


def capture(model: nn.Module, layers: Mapping[str, _BatchNorm], batch: object) -> Program:
    """Return the forward pass of ``model``, which is in eval mode, up to the last call of one of ``layers``.

    The recorded pass is for batches with the arguments that ``batch`` has: what is no tensor in it, such as a mask that
    is None, is part of the record.

    Raises:
        NotCaptured: its forward pass depends on values or extents, has hooks around several steps or before a BN layer,
            changes buffers, or calls one of ``layers`` several times.
    """
    arguments = bound_arguments(model, batch)
    constants = _constants(arguments)
    graph = _trace(model, layers, constants)
    if sum(node.op == "placeholder" for node in graph.nodes) != len(arguments):
        raise NotCaptured("its forward takes arguments that have no names")
    modules = dict(model.named_modules(remove_duplicate=False))
    names = {id(layer): name for name, layer in layers.items()}
    calls = {
        node: names[id(modules[str(node.target)])]
        for node in graph.nodes
        if node.op == "call_module" and id(modules[str(node.target)]) in names
    }
    for name, count in Counter(calls.values()).items():
        if count > 1:
            raise NotCaptured(f"BN layer {name} is called {count} times in a forward pass")
    every = tuple(graph.nodes)
    last = max((every.index(node) for node in calls), default=-1)
    nodes = every[: last + 1]
    last_use = _last_use(nodes)
    return Program(model, nodes, calls, constants, modules, last_use, overwriting(nodes, last_use, modules))


class _Tracer(fx.Tracer):
    """Takes BN layers for steps, ours too, and looks into everything that one of them lies in."""

    # A model that writes to its buffers is refused; a recorded write would be done once, and not for every batch.
    proxy_buffer_attributes = True

    def __init__(self, layers: Mapping[str, _BatchNorm]) -> None:
        super().__init__()
        self._layers: Final = frozenset(map(id, layers.values()))

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether ``m`` is one step."""
        if isinstance(m, _BatchNorm):
            return True
        holds_layer = any(id(part) in self._layers for part in m.modules())
        return super().is_leaf_module(m, module_qualified_name) and not holds_layer

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record the call of ``m``, or look into it."""
        path = self.path_of_module(m)
        if id(m) in self._layers or not self.is_leaf_module(m, path):
            require_no_hooks(m, path)
        return super().call_module(m, forward, args, kwargs)


def _constants(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is None or isinstance(value, int | float | str)}


def _in_words(constants: Mapping[str, Any], name: str) -> str:
    return repr(constants[name]) if name in constants else "no constant"


def _trace(model: nn.Module, layers: Mapping[str, _BatchNorm], constants: dict[str, Any]) -> fx.Graph:
    if isinstance(model, _BatchNorm):
        raise NotCaptured("the model is itself a BN layer")
    require_no_hooks(model, type(model).__name__)
    try:
        return _Tracer(layers).trace(model, constants or None)
    except NotCaptured:
        raise
    except Exception as error:  # torch.fx has no base class for its refusals, and the model may raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise NotCaptured(f"torch.fx cannot capture it: {reason}") from error


def require_no_hooks(module: nn.Module, name: str) -> None:
    """Check that no hook of the user's would see symbols, or change what a BN layer is given.

    Hooks of the other single steps are run with the step, on every batch.
    """
    pre_hooks, hooks = module._forward_pre_hooks, module._forward_hooks  # pyright: ignore[reportPrivateUsage]  # not public
    if pre_hooks or hooks:
        raise NotCaptured(f"module {name} has hooks")


def _last_use(nodes: tuple[fx.Node, ...]) -> dict[fx.Node, tuple[fx.Node, ...]]:
    """Return, for each step, the values that no later one needs; its own is one of them where no one needs that."""
    last = {node: node for node in nodes}
    for node in nodes:
        last.update(dict.fromkeys(node.all_input_nodes, node))
    dead: dict[fx.Node, tuple[fx.Node, ...]] = {}
    for value, user in last.items():
        dead[user] = (*dead.get(user, ()), value)
    return dead


def _contiguous(value: Any) -> Any:
    is_reordered = isinstance(value, Tensor) and value.ndim == 4 and not value.is_contiguous()
    return value.contiguous() if is_reordered and value.is_contiguous(memory_format=torch.channels_last) else value


def _attribute(model: nn.Module, path: str) -> Any:
    value: Any = model
    for name in path.split("."):
        value = getattr(value, name)
    return value
