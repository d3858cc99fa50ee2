"""Walks a float64 graph node by node, freeing every value after its last reader."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from bnfold.errors import InputError
from bnfold.verify.oracle.operators import LAYOUT_DOMAIN, RANDOM, reference_operators
from bnfold.verify.oracle.types import Value
from bnfold.verify.oracle.widening import WIDENED, widened, widened_tensor

OLDEST_OPSET = 7
"""Before it, broadcasting and inference mode were attributes of their own."""


class Step:
    """One node in the course of an evaluation, with the values that it read.

    Attributes:
        name: the node's name, or its first output's where it has none.
        op_type: its operator.
        inputs: names of the values that it reads, subgraphs included; "" where an optional one is absent.
    """

    def __init__(self, node: OpRun, values: Mapping[str, Value | None]) -> None:
        self._node, self._values = node, values
        self.name: str = node.onnx_node.name or node.output[0]
        self.op_type: str = node.op_type
        self.inputs = tuple(node.input)

    def value(self, name: str) -> Value:
        """Return what the node read under ``name``."""
        value = self._values[name]
        assert value is not None
        return value

    def again(self, other: Mapping[str, Value]) -> dict[str, Value]:
        """Evaluate the node once more, with the values in ``other`` in the place of those it read."""
        return _evaluate(self._node, {**self._values, **other})


Hook = Callable[[Step, dict[str, Value]], Mapping[str, Value]]
"""Takes a node and its results by name, and returns the values that later nodes read in their place."""


class Oracle:
    """The float64 evaluation of one graph, by NumPy and ``onnx.reference``; no runtime under test takes part.

    Float inputs and results are double whatever the graph declares; integers and booleans stay as they are.

    Raises:
        InputError: the graph holds an operator that neither knows.
    """

    _known: ClassVar[WeakKeyDictionary[ir.Model, "Oracle"]] = WeakKeyDictionary()

    @classmethod
    def of(cls, model: ir.Model) -> "Oracle":
        """Return the oracle of a model that nobody edits any more: always the same one, as long as the model lives.

        It keeps what the nodes computed in its first run, if that is at most `KEPT` numbers, for `remembered`; of that,
        where `remember_only` has been told names, what these name.
        """
        if model not in cls._known:
            cls._known[model] = cls(model)
            cls._known[model]._first = _First()
        return cls._known[model]

    def remember_only(self, names: Iterable[str]) -> None:
        """Keep of the first run the values in ``names`` alone, if there are any to be kept."""
        if self._first is not None:
            self._first.names = frozenset(names)

    def remembered(self, inputs: Mapping[str, Value]) -> dict[str, Value] | None:
        """Return the results of the nodes on ``inputs``, where the first run was on them and they were kept."""
        if self._first is None or self._first.values is None or self._first.inputs.keys() != inputs.keys():
            return None
        same = all(np.array_equal(self._first.inputs[name], array) for name, array in inputs.items())
        return self._first.values if same else None

    def __init__(self, model: ir.Model) -> None:
        twin = widened(model)
        self._stored = {n: v.const_value for n, v in model.graph.initializers.items() if v.const_value is not None}
        self._wide = _take_initializers(twin.graph)
        self.input_names = tuple(value.name or "" for value in twin.graph.inputs if value.name not in self._wide)
        self.output_names = tuple(value.name or "" for value in twin.graph.outputs)
        opset = _supported_opset(model)
        try:
            evaluator = ReferenceEvaluator(ir.to_proto(twin), new_ops=reference_operators(opset))
        except (NotImplementedError, RuntimeError) as error:
            raise InputError(f"the float64 oracle cannot evaluate this graph: {error}") from error
        self._nodes = evaluator.rt_nodes_
        self.value_names = tuple(name for node in self._nodes for name in node.output if name)
        self._first: _First | None = None
        self._readers = [sorted(_names_read(node.onnx_node)) for node in self._nodes]

    def run(
        self,
        inputs: Mapping[str, Value],
        outputs: Sequence[str] | None = None,
        hook: Hook | None = None,
        weights: Mapping[str, Value] | None = None,
    ) -> dict[str, Value]:
        """Return the values named in ``outputs`` (any values of the main graph; default: the graph's outputs).

        ``hook`` is told of every node when it has been evaluated, and may put other values in the place of its results;
        sequences, which are no tensors, pass it by.
        ``weights`` take the place of initializers; each is asked for when its first reader's turn has come.

        Raises:
            InputError: an input is missing or unknown, a name in ``outputs`` is unknown, or a node cannot be
                evaluated in double precision.
        """
        self._check_names(inputs)
        wanted = tuple(self.output_names if outputs is None else outputs)
        others: Mapping[str, Value] = {} if weights is None else weights
        values: dict[str, Value | None] = {"": None}
        values |= {name: np.asarray(wide.numpy()) for name, wide in self._wide.items() if name not in others}
        values |= {name: _as_double(np.asarray(value)) for name, value in inputs.items()}
        values |= _asked_for(others, wanted, values)
        waiting = Counter(name for names in self._readers for name in names) + Counter(("", *wanted))
        plain = hook is None and weights is None
        first = self._first if plain and self._first is not None and not self._first.inputs else None
        if first is not None:
            first.inputs = dict(inputs)
        with np.errstate(all="ignore"):  # what is not finite shows in the values
            for node, names in zip(self._nodes, self._readers, strict=True):
                values |= _asked_for(others, names, values)
                results = _evaluate(node, values)
                tensors = {name: value for name, value in results.items() if isinstance(value, np.ndarray)}
                if first is not None:
                    first.keep(tensors)
                values |= results
                if hook is not None:
                    values |= hook(Step(node, values), tensors)
                waiting.subtract(names)
                for name in (*names, *node.output):
                    if waiting[name] <= 0:
                        values.pop(name, None)
        return dict(_picked(values, wanted))

    def release_weights(self) -> None:
        """Give back the memory of the weights in double; another run makes them again."""
        self._wide = {}
        self._wide = {name: widened_tensor(tensor) for name, tensor in self._stored.items()}

    def _check_names(self, inputs: Mapping[str, Value]) -> None:
        missing = [name for name in self.input_names if name not in inputs]
        unknown = [name for name in inputs if name not in self.input_names and name not in self._stored]
        if missing or unknown:
            expected = ", ".join(self.input_names) or "none"
            raise InputError(f"inputs: expected {expected}, found {', '.join(inputs) or 'none'}.")


KEPT = 2**26
"""Numbers that the results of a first run may be to be kept (512 MiB)."""


class _First:
    """The inputs of an oracle's first run, and what its nodes computed; None once that is too much."""

    def __init__(self) -> None:
        self.inputs: dict[str, Value] = {}
        self.values: dict[str, Value] | None = {}
        self.names: frozenset[str] | None = None
        self._room = KEPT

    def keep(self, results: Mapping[str, Value]) -> None:
        if self.names is not None:
            results = {name: value for name, value in results.items() if name in self.names}
        self._room -= sum(value.size for value in results.values())
        if self._room < 0:
            self.values = None
        if self.values is not None:
            self.values.update(results)


def _supported_opset(model: ir.Model) -> int:
    """Return the standard domain's opset, if onnx.reference gives the graph's operators the right meaning."""
    opset = model.graph.opset_imports.get("", 1)
    if opset < OLDEST_OPSET:
        raise InputError(f"opset {opset}: the float64 oracle knows opset {OLDEST_OPSET} and newer; convert the model.")
    for node in model.graph.all_nodes():
        if node.domain == LAYOUT_DOMAIN:
            remedy = "save it with graph_optimization_level ORT_ENABLE_EXTENDED or lower"
            raise InputError(
                f"ONNX Runtime has laid out this graph for one processor ({node.op_type} in {node.domain}): {remedy}."
            )
        if node.domain == "" and node.op_type in RANDOM:
            raise InputError(f"node {node.name!r} ({node.op_type}): a random operator has no result to compare with.")
    return opset


def _take_initializers(graph: ir.Graph) -> dict[str, ir.TensorProtocol]:
    """Remove the initializers from ``graph`` and return their tensors, so that no copy passes through a proto."""
    taken: dict[str, ir.TensorProtocol] = {}
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            taken[name] = value.const_value
        value.const_value = None  # graphs are cycles, and would hold the numbers until they are collected
    graph.initializers.clear()
    return taken


def _asked_for(others: Mapping[str, Value], names: Sequence[str], values: Mapping[str, object]) -> dict[str, Value]:
    """Return those of ``others`` that are named and not among the values yet."""
    return {name: others[name] for name in names if name in others and name not in values}


def _names_read(node: onnx.NodeProto) -> set[str]:
    """Return the names that ``node`` and the subgraphs in its attributes read."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names |= {output.name for output in graph.output}
            names |= {name for inner in graph.node for name in _names_read(inner)}
    return names


def _evaluate(node: OpRun, values: Mapping[str, Value | None]) -> dict[str, Any]:
    """Return a node's results by name: arrays, or lists of arrays where they are sequences."""
    arguments = [values[name] for name in node.input]
    try:
        results = node.run(*arguments, context=dict(values)) if node.need_context() else node.run(*arguments)
    except InputError as error:
        raise InputError(f"{_label(node)}: {error}") from error
    except Exception as error:  # the reference raises whatever a bad shape or attribute led to
        cause = error.__cause__ or error
        raise InputError(f"{_label(node)}: the float64 oracle cannot evaluate it: {cause}") from error
    named = {name: value for name, value in zip(node.output, results, strict=False) if name}
    for name in filter(None, node.output):
        if name not in named:
            raise InputError(f"{_label(node)}: the float64 oracle does not compute its output {name}.")
    for name, value in named.items():
        if getattr(value, "dtype", None) in (np.float32, np.float16):
            raise InputError(f"{_label(node)}: the float64 oracle has only {value.dtype} arithmetic for {name}.")
    return named


def _picked(values: Mapping[str, Value | None], wanted: Sequence[str]) -> Iterator[tuple[str, Value]]:
    for name in wanted:
        value = values.get(name)
        if value is None:
            raise InputError(f"{name!r}: the float64 oracle has no value of that name.")
        yield name, value


def _label(node: OpRun) -> str:
    return f"node {node.onnx_node.name or node.output[0]!r} ({node.op_type})"


def _as_double(value: Value) -> Value:
    return value.astype(np.float64) if ir.DataType.from_numpy(value.dtype) in WIDENED else value
