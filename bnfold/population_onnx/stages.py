"""An ONNX graph cut into stages: what has to run before the next BN layer can be measured, and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from bnfold.population.kept import KeptLayer, Reason
from bnfold.population_onnx.layers import BatchNormLayer

Arrays = dict[str, np.ndarray]
"""Values of the graph by name."""

Statistics = tuple[np.ndarray, np.ndarray]
"""Mean and variance (C,), in the type that the graph has them in."""


@dataclass(frozen=True, eq=False)
class Stage:
    """What runs between two layers.

    Attributes:
        layer: the layer that is measured at the end.
        nodes: positions of the nodes that have to run before, in the graph's order.
        measured: the inputs of the layer's nodes, by the node's position in the graph.
        reads: values that come from earlier stages or are fed.
        produces: values computed here that this layer or a later stage needs.
        drops: values that no later stage needs.
        normalized: positions of nodes that run here, of layers measured before.
    """

    layer: BatchNormLayer
    nodes: tuple[int, ...]
    measured: Mapping[int, str]
    reads: tuple[str, ...]
    produces: tuple[str, ...]
    drops: frozenset[str]
    normalized: tuple[int, ...]


class Stages:
    """The stages of a graph, in the order in which they can run.

    A layer whose calls depend on one another has no place in such an order: it is ``kept``, with the statistics that it
    has.
    """

    def __init__(self, model: ir.Model, layers: Sequence[BatchNormLayer]) -> None:
        self.proto = ir.to_proto(model)
        nodes = list(self.proto.graph.node)
        position = {node: index for index, node in enumerate(model.graph)}
        calls = {layer.name: [position[node] for node in layer.nodes] for layer in layers}
        self._reads = [frozenset(_read(node)) for node in nodes]
        self._producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
        order, self.kept = self._order(layers, calls)
        self.stages = self._cut(nodes, order, calls)

    def _before(self, positions: Sequence[int]) -> set[int]:
        """Return the nodes that have to run before the inputs of those at ``positions`` are there."""
        found: set[int] = set()
        pending = [self._producer[name] for at in positions for name in self._reads[at] if name in self._producer]
        while pending:
            at = pending.pop()
            if at not in found:
                found.add(at)
                pending += [self._producer[name] for name in self._reads[at] if name in self._producer]
        return found

    def _order(
        self, layers: Sequence[BatchNormLayer], calls: Mapping[str, Sequence[int]]
    ) -> tuple[list[BatchNormLayer], tuple[KeptLayer, ...]]:
        before = {layer.name: self._before(calls[layer.name]) for layer in layers}
        order: list[BatchNormLayer] = []
        kept: list[KeptLayer] = []
        waiting = list(layers)
        while waiting:
            open_calls = {at for layer in waiting for at in calls[layer.name]}
            ready = next((layer for layer in waiting if not before[layer.name] & open_calls), None)
            if ready is None:
                ready = next(layer for layer in waiting if before[layer.name] & set(calls[layer.name]))
                kept.append(KeptLayer(ready.name, Reason.RECURRENT))
            else:
                order.append(ready)
            waiting.remove(ready)
        return order, tuple(kept)

    def _cut(
        self, nodes: Sequence[onnx.NodeProto], order: Sequence[BatchNormLayer], calls: Mapping[str, Sequence[int]]
    ) -> list[Stage]:
        own: list[list[int]] = []
        done: set[int] = set()
        for layer in order:
            own.append(sorted(self._before(calls[layer.name]) - done))
            done.update(own[-1])
        needed_later: list[AbstractSet[str]] = [frozenset()]
        for stage in reversed(own[1:]):
            needed_later.append(needed_later[-1] | {name for at in stage for name in self._reads[at]})
        stages: list[Stage] = []
        settled: set[int] = set()
        inputs = {layer.name: {at: nodes[at].input[0] for at in calls[layer.name]} for layer in order}
        for index, (layer, ran) in enumerate(zip(order, own, strict=True)):
            measured = inputs[layer.name]
            later = needed_later[len(order) - 1 - index] | {
                n for o in order[index + 1 :] for n in inputs[o.name].values()
            }
            made = {name for at in ran for name in nodes[at].output if name}
            read = {name for at in ran for name in self._reads[at]} - made - self._stored()
            stages.append(
                Stage(
                    layer=layer,
                    nodes=tuple(ran),
                    measured=measured,
                    reads=tuple(sorted(read)),
                    produces=tuple(sorted(made & (later | set(measured.values())))),
                    drops=frozenset((made | read | set(measured.values())) - later),
                    normalized=tuple(at for at in ran if at in settled),
                )
            )
            settled.update(calls[layer.name])
        return stages

    def _stored(self) -> set[str]:
        graph = self.proto.graph
        return {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer} | {""}

    def program(self, stage: Stage, state: Arrays, statistics: Mapping[int, Statistics]) -> bytes:
        """Return a stage as a model of its own, whose inputs are what it reads of ``state``, and ``statistics``.

        ``statistics`` are those of the nodes of layers measured before, by position; they are fed, so that one program
        does for every minibatch.
        """
        graph = self.proto.graph
        nodes = [_fed_with(graph.node[at], at if at in stage.normalized else None) for at in stage.nodes]
        used = {name for node in nodes for name in _read(node)}
        feeds = [_port(name, state[name].dtype) for name in stage.reads]
        feeds += [
            _port(name, array.dtype) for at in stage.normalized for name, array in fed(at, statistics[at]).items()
        ]
        made = [onnx.ValueInfoProto(name=name) for name in stage.produces]
        initializers = [tensor for tensor in graph.initializer if tensor.name in used]
        part = onnx.helper.make_graph(nodes, "stage", feeds, made, initializers)
        part.sparse_initializer.extend(t for t in graph.sparse_initializer if t.values.name in used)
        # Initializers of IR version 3 would have to be declared as inputs too.
        version = max(4, self.proto.ir_version)
        model = onnx.helper.make_model(part, opset_imports=list(self.proto.opset_import), ir_version=version)
        return model.SerializeToString()


def fed(position: int, statistics: Statistics) -> Arrays:
    """Return the arrays that a normalizing node of a stage is fed with, by name."""
    return dict(zip(_names(position), statistics, strict=True))


def _names(position: int) -> tuple[str, str]:
    return f"bnfold:mean:{position}", f"bnfold:variance:{position}"


def _fed_with(node: onnx.NodeProto, position: int | None) -> onnx.NodeProto:
    if position is None:
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[3], copy.input[4] = _names(position)
    return copy


def _port(name: str, dtype: np.dtype) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, ir.DataType.from_numpy(dtype).value, None)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node reads, and what its subgraphs read from outside; also names of their own, which do no harm."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            made = {name for inner in graph.node for name in inner.output} | {value.name for value in graph.input}
            made |= {tensor.name for tensor in graph.initializer}
            yield from (name for inner in graph.node for name in _read(inner) if name not in made)
            yield from (value.name for value in graph.output if value.name not in made)
