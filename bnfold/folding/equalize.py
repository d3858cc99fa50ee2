"""Evens out the ranges of weights, channel by channel, by the scales that a fold leaves free.

A value between two linear operators, behind a Relu too, may carry any positive scale s: W₁ becomes s·W₁, W₂ becomes
W₂/s, and nothing else changes. What quantizes next wants the channels of a weight to be of one size; with R₁ the
largest magnitude of a channel in what computes it, and R₂ in what reads it, s = √(R₂/R₁) makes both √(R₁·R₂) (M. Nagel
et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019). Classes of channels that
carry one scale, over additions and concatenations, take the largest of all their weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import onnx_ir as ir

from bnfold.folding.affine import Array
from bnfold.folding.apply import apply_plan
from bnfold.folding.forms import Linear
from bnfold.folding.gauges import IDENTITY, Ids
from bnfold.folding.network import Facts, Network
from bnfold.folding.plan import Plan, state_rules
from bnfold.folding.precision import overstrained_roots
from bnfold.folding.report import Change
from bnfold.folding.solution import Solution

SCHEMA = "bnfold.equalize/1"

ROUNDS = 16
"""Each round evens out every class against its neighbours as they are; chains of layers settle in a few."""


@dataclass(frozen=True)
class Equalized:
    """One weight.

    Attributes:
        name: of the weight.
        ratio: its largest output channel's largest magnitude over its smallest one's, channels of zeros left out.
    """

    name: str
    ratio: Change


@dataclass(frozen=True)
class EqualizeReport:
    """The account of one equalization.

    Attributes:
        weights: those that changed, in graph order.
        scaled: channels that carry another scale than before.
        largest_scale: the largest scale, or inverse of one.
    """

    weights: tuple[Equalized, ...]
    scaled: int
    largest_scale: float

    @property
    def ratio(self) -> Change:
        """The largest ratio over the weights, before and after."""
        sides = [[weight.ratio.before for weight in self.weights], [weight.ratio.after for weight in self.weights]]
        return Change(*(max(side, default=1.0) for side in sides))

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON-able data."""
        return {"schema": SCHEMA, **asdict(self), "ratio": asdict(self.ratio)}


def equalize(model: ir.Model) -> EqualizeReport:
    """Even out the weights of ``model``, in place.

    Scales are powers of two: weights are multiplied without rounding, and the model computes what it did, bit for bit
    as long as nothing becomes subnormal; ranges agree to a factor of two. To be called after folding and merging, which
    choose scales of their own.

    Raises:
        InputError: a weight is not finite.
    """
    network = state_rules(Network(Facts(model)))
    for pointwise in network.turning:
        network.keep_sign(pointwise)
    linears = tuple(network.linears.values())
    gauges = network.gauges
    roots, _ = gauges.roots(np.arange(len(gauges)))
    fixed = {int(roots[IDENTITY])}
    while True:
        scale = _scales(linears, roots, fixed)
        solution = Solution(scale[roots], np.zeros(len(gauges)))
        strained = overstrained_roots(network, solution, linears, (), list(network.maps.values()))
        if not strained.keys() - fixed:
            break
        fixed |= strained.keys()
    changed = [linear for linear in linears if not solution.is_identity(linear.sources, linear.targets)]
    before = [_ratio(linear, linear.kernel()) for linear in changed]
    after = [_ratio(linear, solution.kernel(linear)) for linear in changed]
    names = [_weight_name(linear) for linear in changed]
    apply_plan(model, Plan(solution, linears, (), tuple(network.maps.values()), (), {}, unsettled=False))
    return EqualizeReport(
        tuple(Equalized(*each) for each in zip(names, map(Change, before, after), strict=True)),
        int(np.count_nonzero(solution.scale != 1.0)),
        float(max(solution.scale.max(), 1.0 / solution.scale.min())),
    )


def _scales(linears: Sequence[Linear], roots: Ids, fixed: Iterable[int]) -> Array:
    """Return the scale of every class, by its root; a class that no weight computes, or reads, keeps 1."""
    sizes = [_sizes(linear) for linear in linears]
    exponent = np.zeros(len(roots))
    free = np.ones(len(roots), dtype=bool)
    free[list(fixed)] = False
    for _ in range(ROUNDS):
        computed, read = np.full(len(roots), -np.inf), np.full(len(roots), -np.inf)
        for linear, size in zip(linears, sizes, strict=True):
            sources, targets = roots[linear.sources], roots[linear.targets]
            now = size + exponent[targets] - exponent[sources]
            np.maximum.at(computed, *np.broadcast_arrays(targets, now))
            np.maximum.at(read, *np.broadcast_arrays(sources, now))
        known = free & np.isfinite(computed) & np.isfinite(read)
        step = np.zeros(len(roots))
        step[known] = np.round((read[known] - computed[known]) / 2)
        if not step.any():
            break
        exponent += step
    return np.exp2(exponent)


def _sizes(linear: Linear) -> Array:
    """Return log₂ of the largest magnitudes, along the axes on which no channel varies; −∞ where all are 0."""
    rank = linear.weight.ndim
    axes = tuple(a for a in range(rank) if linear.sources.shape[a] == 1 and linear.targets.shape[a] == 1)
    largest = np.abs(linear.kernel()).max(axis=axes, keepdims=True, initial=0.0)
    with np.errstate(divide="ignore"):
        return np.log2(largest)


def _ratio(linear: Linear, kernel: Array) -> float:
    maxima = np.abs(kernel).max(axis=linear.contraction)
    positive = maxima[maxima > 0]
    return float(positive.max() / positive.min()) if positive.size else 1.0


def _weight_name(linear: Linear) -> str:
    weight = linear.node.inputs[linear.weight_slot]
    return "" if weight is None else weight.name or ""
