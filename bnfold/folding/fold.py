"""Folding as one call: plan, apply, report."""

import numpy as np
import onnx_ir as ir

from bnfold.folding.apply import apply_plan
from bnfold.folding.counts import count_nodes, initializer_bytes
from bnfold.folding.forms import Linear, Normalization
from bnfold.folding.plan import Objective, Plan, make_plan
from bnfold.folding.report import Change, FoldReport, Outcome


def fold(model: ir.Model, objective: Objective = Objective.LATENCY) -> FoldReport:
    """Fold every Batch Normalization of ``model`` that can be folded exactly; the model is edited in place.

    Raises:
        InputError: a weight or a normalization's parameter is not finite, or does not fit its input.
    """
    before, bytes_before = count_nodes(model), initializer_bytes(model)
    plans: list[Plan] = []
    duplicated = 0
    while not plans or plans[-1].narrowed:
        plans.append(make_plan(model, objective))
        duplicated += apply_plan(model, plans[-1])
    after = count_nodes(model)
    outcomes = {node: outcome for plan in plans for node, outcome in plan.outcomes.items()}
    return FoldReport(
        batch_norms=tuple(outcomes.values()),
        pointwise_removed=tuple(
            pointwise.node.name or ""
            for plan in plans
            for pointwise in plan.removed
            if not isinstance(pointwise, Normalization)
        ),
        batch_norm_count=Change(before.batch_norms, after.batch_norms),
        elementwise=Change(before.elementwise, after.elementwise),
        nodes=Change(before.nodes, after.nodes),
        bytes=Change(bytes_before, initializer_bytes(model)),
        duplicated_bytes=duplicated,
        largest_scale=max(map(_largest_scale, plans)),
        weight_range=_weight_range(plans[0]),
    )


def inspect(model: ir.Model, objective: Objective = Objective.LATENCY) -> tuple[Outcome, ...]:
    """Return what `fold` would do to each Batch Normalization; the model is only read."""
    return fold(model.clone(), objective).batch_norms


def _largest_scale(plan: Plan) -> float:
    magnitude = np.abs(plan.solution.scale)
    return float(max(magnitude.max(), 1.0 / magnitude.min()))


def _weight_range(plan: Plan) -> Change:
    """Return the largest ratio of channel maxima within one weight, before an applied plan and now."""
    moved = [linear for linear in plan.linears if not plan.solution.is_identity(linear.sources, linear.targets)]
    before = [_channel_ratio(linear, linear.weight) for linear in moved]
    after = [_channel_ratio(linear, _stored(linear)) for linear in moved]
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
