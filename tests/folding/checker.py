"""The one generic check of a fold: same results in float64, same signature, a true account, nothing left to fold.

Tolerance: the algebra is exact, and float64 carries 1.1e-16; what a fold of float64 weights may change is rounding,
amplified by the network. `RELATIVE` leaves seven digits for that, relative to an output's largest magnitude. Where an
output is small because larger values cancelled, it inherits their rounding: `RESIDUE` of the largest value on the way.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from bnfold.folding import FoldReport, fold, inspect
from bnfold.folding.counts import ELEMENTWISE
from bnfold.folding.plan import Objective
from bnfold.verify.oracle import Array, Oracle, Value

RELATIVE = 1e-9
RESIDUE = 1e-13
BATCH_NORM = "BatchNormalization"


@dataclass(frozen=True)
class Folded:
    """A fold that passed the check."""

    model: ir.Model
    report: FoldReport

    def count(self, op_type: str) -> int:
        """Return how many nodes of a type the folded graph has."""
        return sum(node.op_type == op_type for node in self.model.graph.all_nodes())

    def weight(self, op_type: str, slot: int, index: int = 0) -> Array:
        """Return a stored input of the ``index``-th node of a type, in float64."""
        node = [node for node in self.model.graph if node.op_type == op_type][index]
        value = node.inputs[slot]
        assert value is not None
        assert value.const_value is not None, f"{value.name} is not stored"
        return value.const_value.numpy().astype(np.float64)


def fold_checked(
    model: ir.Model,
    inputs: Mapping[str, Value] | None = None,
    *,
    objective: Objective = Objective.LATENCY,
    relative: float = RELATIVE,
) -> Folded:
    """Fold a copy of ``model`` and hold the result to everything that a fold promises; return it.

    Args:
        model: the original, with float64 weights unless ``relative`` is widened for their rounding.
        inputs: what to evaluate both on; default: `random_inputs`.
        objective: what to fold for.
        relative: largest difference of an output, relative to its largest magnitude.
    """
    before = _bytes(model)
    expected = inspect(model, objective)
    assert _bytes(model) == before, "planning changed the model"
    candidate = model.clone()
    report = fold(candidate, objective)
    assert report.batch_norms == expected, "inspect foretold something else"
    check_signature(model, candidate)
    check_valid(candidate)
    check_account(model, candidate, report)
    check_results(model, candidate, random_inputs(model) if inputs is None else inputs, relative=relative)
    check_idempotent(candidate, objective)
    return Folded(candidate, report)


def random_inputs(model: ir.Model, *, seed: int = 0, batch: int = 2) -> dict[str, Value]:
    """Draw standard-normal numbers for every input; an axis of unknown extent has ``batch`` elements plus its index."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, Value] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        assert value.shape is not None
        assert value.dtype is not None
        assert value.dtype.is_floating_point(), f"{value.name}: give integers explicitly"
        extents = [dim if isinstance(dim, int) else batch + axis for axis, dim in enumerate(value.shape)]
        arrays[value.name or ""] = generator.standard_normal(extents).astype(value.dtype.numpy())
    return arrays


def check_results(
    original: ir.Model, candidate: ir.Model, inputs: Mapping[str, Value], *, relative: float = RELATIVE
) -> None:
    """Compare every output of the two graphs in float64."""
    names = [output.name or "" for output in original.graph.outputs]
    inner = [output.name for node in original.graph for output in node.outputs if output.name]
    values = Oracle(original).run(inputs, outputs=[*dict.fromkeys([*inner, *names])])
    results = Oracle(candidate).run(inputs)
    largest = max((_magnitude(value) for value in values.values() if value.dtype == np.float64), default=0.0)
    for name in names:
        expected, actual = values[name], results[name]
        assert actual.shape == expected.shape, f"{name}: shape {actual.shape}, expected {expected.shape}"
        assert actual.dtype == expected.dtype, f"{name}: type {actual.dtype}, expected {expected.dtype}"
        if expected.dtype != np.float64:
            assert np.array_equal(actual, expected), f"{name}: {actual} is not {expected}"
            continue
        same = np.isfinite(expected)
        assert np.array_equal(actual[~same], expected[~same], equal_nan=True), f"{name}: other infinities"
        error, tolerance = _magnitude(actual[same] - expected[same]), relative * _magnitude(expected[same])
        tolerance += RESIDUE * largest
        assert error <= tolerance, f"{name}: off by {error:.3g}, tolerance {tolerance:.3g}"


def _magnitude(values: Value) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max(initial=0.0))


def check_signature(original: ir.Model, candidate: ir.Model) -> None:
    """Inputs and outputs keep names, types, order and symbolic shapes; declarations of initializers may go or come."""
    assert _ports(candidate.graph.inputs) == _ports(original.graph.inputs), "the inputs changed"
    assert _ports(candidate.graph.outputs) == _ports(original.graph.outputs), "the outputs changed"
    assert dict(candidate.opset_imports) == dict(original.opset_imports)
    assert candidate.ir_version == original.ir_version


def _ports(values: Iterable[ir.Value]) -> list[tuple[str, str, str]]:
    return [(value.name or "", str(value.type), str(value.shape)) for value in values if not value.is_initializer()]


def check_valid(candidate: ir.Model) -> None:
    """The result passes onnx's checker with strict shape inference, and nothing non-finite is stored in it."""
    onnx.checker.check_model(ir.to_proto(candidate), full_check=True)
    for name, value in candidate.graph.initializers.items():
        assert value.const_value is not None
        if value.const_value.dtype.is_floating_point():
            assert np.isfinite(value.const_value.numpy().astype(np.float64)).all(), f"{name} is not finite"


def check_account(original: ir.Model, candidate: ir.Model, report: FoldReport) -> None:
    """The report says what the two graphs show: counted here again, by other means."""
    outcomes = {outcome.name: outcome for outcome in report.batch_norms}
    before, after = (_batch_norms(model) for model in (original, candidate))
    assert list(outcomes) == before, "not one outcome for each BatchNormalization, in order"
    assert [name for name in before if not outcomes[name].removed] == after, "the report does not fit the graph"
    assert (report.removed_count, report.kept_count) == (len(before) - len(after), len(after)), "counts"
    for outcome in report.batch_norms:
        if outcome.removed:
            assert outcome.witness is None, f"{outcome.name}: something stands in the way of what was removed"
            assert set(outcome.into) <= set(ir.convenience.create_value_mapping(original.graph)), outcome.into
        else:
            assert outcome.reason is not None, f"{outcome.name}: no reason"
            assert not outcome.into, f"{outcome.name}: kept and folded"
        assert outcome.detail, f"{outcome.name}: no words"
    for model, counts in ((original, "before"), (candidate, "after")):
        assert getattr(report.batch_norm_count, counts) == len(_batch_norms(model)), "BatchNormalization nodes"
        assert getattr(report.bytes, counts) == _stored_bytes(model), "bytes"
    running, still_running = running_nodes(original), running_nodes(candidate)
    assert report.nodes.before - report.nodes.after == len(running) - len(still_running), "nodes"
    passes = [sum(node.op_type in ELEMENTWISE for node in nodes) for nodes in (running, still_running)]
    assert report.elementwise.before - report.elementwise.after == passes[0] - passes[1], "element-wise nodes"
    arithmetic = {node.name for node in candidate.graph if node.op_type != "Identity"}
    assert arithmetic.isdisjoint(report.pointwise_removed), "a node that is reported as removed is there"
    named = {node.name for node in original.graph.all_nodes()}
    assert named.issuperset(report.pointwise_removed), "a node that was never there is reported as removed"
    json.dumps(report.to_dict())


def running_nodes(model: ir.Model, *, bodies: bool = True) -> list[onnx.NodeProto]:
    """Return the nodes that depend on a run-time input, in bodies too: found by walking forward from the inputs."""
    graph = ir.to_proto(model).graph
    live = {value.name for value in graph.input}
    if model.ir_version < 4:
        live -= {tensor.name for tensor in graph.initializer}
    return _running(graph, live, bodies=bodies)


def _running(graph: onnx.GraphProto, live: set[str], *, bodies: bool) -> list[onnx.NodeProto]:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if live & _names_read(node):
            nodes.append(node)
            live.update(node.output)
            for body in (attribute.g for attribute in node.attribute if bodies):
                nodes += _running(body, live | {value.name for value in body.input}, bodies=True)
    return nodes


def _names_read(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        names |= {output.name for output in attribute.g.output}
        names |= {name for inner in attribute.g.node for name in _names_read(inner)}
    return names


def _batch_norms(model: ir.Model) -> list[str]:
    return [node.name or "" for node in model.graph.all_nodes() if node.op_type == BATCH_NORM]


def _stored_bytes(model: ir.Model) -> int:
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def check_idempotent(folded: ir.Model, objective: Objective = Objective.LATENCY) -> None:
    """Folding again changes no byte."""
    again = folded.clone()
    report = fold(again, objective)
    removed = [outcome.name for outcome in report.batch_norms if outcome.removed]
    assert not removed, f"folding again removes {removed}"
    assert not report.pointwise_removed, f"folding again removes {report.pointwise_removed}"
    assert report.duplicated_bytes == 0, "folding again copies weights"
    before, after = _bytes(folded), _bytes(again)
    assert after == before, f"folding again changed {_differences(folded, again)}"


def _bytes(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def _differences(first: ir.Model, second: ir.Model) -> str:
    left, right = (Counter(f"{node.op_type} {node.name}" for node in model.graph) for model in (first, second))
    names = [
        name
        for name, value in first.graph.initializers.items()
        if (other := second.graph.initializers.get(name)) is None
        or value.const_value is None
        or other.const_value is None
        or value.const_value.tobytes() != other.const_value.tobytes()
    ]
    return f"nodes {dict(left - right)} to {dict(right - left)}, weights {names}"
