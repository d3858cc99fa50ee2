"""Folding as one call: plan, apply, report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from bnfold.folding.apply import apply_plan
from bnfold.folding.costs import costs_on
from bnfold.folding.counts import Counts, count_nodes, initializer_bytes
from bnfold.folding.forms import Linear, Normalization
from bnfold.folding.plan import Objective, Plan, make_plan
from bnfold.folding.report import Change, FoldReport, Outcome
from bnfold.folding.sharing import tie_weights
from bnfold.graph.shapes import bodies


def fold(
    model: ir.Model,
    objective: Objective = Objective.LATENCY,
    *,
    provider: str = "cpu",
    duplicate_weights: bool = True,
) -> FoldReport:
    """Fold every Batch Normalization of ``model`` that can be folded exactly; the model is edited in place.

    The bodies of If, Loop and Scan are graphs of their own, whose inputs and outputs stay what they are, and so does
    what they read from around them.

    Args:
        model: the graph.
        objective: what the fold is for.
        provider: where the model will run, one of `COSTS`. For `Objective.LATENCY` a provider that has not been
            measured takes nothing that has a price.
        duplicate_weights: whether calls that share a weight may get copies; else they go on sharing one value, and a
            normalization that needs a copy is kept. Biases and parameters of affine maps are vectors, copied anyway.

    Raises:
        InputError: a weight or a normalization's parameter is not finite, or does not fit its input; or the provider is
            not known.
    """
    costs, before = costs_on(provider), size_of(model)
    limits = () if duplicate_weights else (tie_weights,)
    order = {node: number for number, node in enumerate(model.graph.all_nodes())}
    plans: list[Plan] = []
    outcomes: dict[ir.Node, Outcome] = {}
    duplicated = 0
    for graph in (*_bodies_to_fold(model.graph), model.graph):
        unsettled = True
        while unsettled:
            plan = make_plan(model, objective, costs=costs, limits=limits, graph=graph)
            duplicated += apply_plan(model, plan)
            own = tuple(pointwise for pointwise in plan.removed if pointwise.node in order)  # not what a plan added
            plans.append(replace(plan, removed=own))
            outcomes |= plan.outcomes
            unsettled = plan.unsettled
    in_order = tuple(outcomes[node] for node in sorted(outcomes, key=lambda node: order[node]))
    return account(plans, in_order, before, size_of(model), duplicated)


def _bodies_to_fold(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Yield the bodies of If, Loop and Scan that have a normalization, inner ones first."""
    for body in (body for node in graph for body in bodies(node)):
        yield from _bodies_to_fold(body)
        if any(node.op_type == "BatchNormalization" for node in body):
            yield body


@dataclass(frozen=True)
class Size:
    """How large a graph is: its nodes, and the bytes of its initializers."""

    counts: Counts
    bytes: int


def size_of(model: ir.Model) -> Size:
    """Measure a graph."""
    return Size(count_nodes(model), initializer_bytes(model))


def account(
    plans: Sequence[Plan], outcomes: tuple[Outcome, ...], before: Size, after: Size, duplicated_bytes: int
) -> FoldReport:
    """Return the report of plans that were applied one after the other."""
    return FoldReport(
        batch_norms=outcomes,
        pointwise_removed=tuple(
            pointwise.node.name or ""
            for plan in plans
            for pointwise in plan.removed
            if not isinstance(pointwise, Normalization)
        ),
        batch_norm_count=Change(before.counts.batch_norms, after.counts.batch_norms),
        elementwise=Change(before.counts.elementwise, after.counts.elementwise),
        nodes=Change(before.counts.nodes, after.counts.nodes),
        bytes=Change(before.bytes, after.bytes),
        duplicated_bytes=duplicated_bytes,
        largest_scale=max(map(_largest_scale, plans)),
        weight_range=_weight_range(plans),
    )


def inspect(model: ir.Model, objective: Objective = Objective.LATENCY, *, provider: str = "cpu") -> tuple[Outcome, ...]:
    """Return what `fold` would do to each Batch Normalization; the model is only read."""
    return fold(model.clone(), objective, provider=provider).batch_norms


def _largest_scale(plan: Plan) -> float:
    magnitude = np.abs(plan.solution.scale)
    return float(max(magnitude.max(), 1.0 / magnitude.min()))


def _weight_range(plans: Sequence[Plan]) -> Change:
    """Return the largest ratio of channel maxima within one weight, before the first applied plan and now."""
    moved = {
        linear.node: linear
        for plan in reversed(plans)
        for linear in plan.linears
        if not plan.solution.is_identity(linear.sources, linear.targets)
    }
    before = [_channel_ratio(linear, linear.weight) for linear in moved.values()]
    after = [_channel_ratio(linear, _stored(linear)) for linear in moved.values()]
    return Change(max(before, default=1.0), max(after, default=1.0))


def _stored(linear: Linear) -> np.ndarray:
    weight = linear.node.inputs[linear.weight_slot]
    assert weight is not None
    assert weight.const_value is not None
    return weight.const_value.numpy()


def _channel_ratio(linear: Linear, weight: np.ndarray) -> float:
    maxima = np.maximum(weight.max(axis=linear.contraction), -weight.min(axis=linear.contraction))
    positive = maxima[maxima > 0]
    return float(positive.max()) / float(positive.min()) if positive.size else 1.0
