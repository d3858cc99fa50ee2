"""Element by element: normalization, arithmetic with constants and between activations.

y = a·x + b with constants is removed iff s_x = a·s_y and a·σ_x − σ_y = b; kept, it takes any gauges that its form can
hold.
"""

from collections.abc import Sequence

import numpy as np

from bnfold.folding import labels
from bnfold.folding.affine import Affine, Array
from bnfold.folding.forms import Carrier, Normalization, Pointwise
from bnfold.folding.gauges import IDENTITY, Ids
from bnfold.folding.network import Opaque
from bnfold.folding.report import Reason
from bnfold.folding.site import Site

DEFAULT_EPSILON = float(np.float32(1e-5))
"""The ε of a node that names none: the operator's attribute is a float32."""


MODE_IS_AN_ATTRIBUTE = 14
"""The opset since which BatchNormalization says by an attribute whether it trains."""


def batch_normalization(site: Site) -> None:
    """BatchNormalization at inference, channel axis 1: a = γ/√(Var + ε), b = β − a·E; kept, it holds any gauges."""
    if _trains(site):
        raise Opaque(Reason.TRAINING_MODE, "it normalizes by the minibatch (training mode)")
    if site.integer("spatial", 1) != 1:
        raise Opaque(Reason.UNSUPPORTED, "it normalizes each activation by itself (spatial=0)")
    gamma, beta, mean, variance = (site.parameter(slot) for slot in range(1, 5))
    epsilon = site.number("epsilon", DEFAULT_EPSILON)
    if not (variance + epsilon > 0).all():
        raise Opaque(Reason.NOT_FINITE, "Var + ε is not positive in every channel")
    rank = site.rank(0)
    if rank < 2:
        raise Opaque(Reason.UNSUPPORTED, "its input has no channel axis")
    if not gamma.shape == beta.shape == mean.shape == variance.shape == (gamma.size,):
        raise Opaque(Reason.UNSUPPORTED, "its parameters differ in shape")
    affine = Affine.of_batch_norm(gamma, beta, mean, variance, epsilon)
    x, y = site.channels(0, axis=1, count=gamma.size), site.fresh(gamma.size)
    site.pointwise(
        Normalization(
            node=site.node,
            slot=0,
            carrier=Carrier.BATCH_NORM,
            dtype=site.dtype(1),
            affine=Affine(labels.along(affine.scale, 1, rank), labels.along(affine.offset, 1, rank)),
            sources=labels.along(x, 1, rank),
            targets=labels.along(y, 1, rank),
            mean=mean,
            deviation=np.sqrt(variance + epsilon),
        )
    )
    site.emit_channels(y, axis=1, rank=rank)


def _trains(site: Site) -> bool:
    """Whether the node uses minibatch statistics: by its attribute since opset 14, by having more outputs before."""
    if site.opset >= MODE_IS_AN_ATTRIBUTE:
        return site.integer("training_mode", 0) != 0
    return any(output.name for output in site.node.outputs[1:])


def add(site: Site) -> None:
    """Add: z = x + y, σ_z = σ_x + σ_y at one scale; with a constant, an affine map, or the bias of MatMul or Einsum."""
    slot = _constant_slot(site)
    if slot is None:
        _linear_combination(site, (1.0, 1.0))
    elif _is_bias(site, slot):
        site.emit(site.label(1 - slot))
    else:
        bias = site.parameter(slot)
        _affine(site, 1 - slot, Carrier.ADDEND, scale=np.ones_like(bias), offset=bias)


def subtract(site: Site) -> None:
    """Sub: z = x − y, σ_z = σ_x − σ_y at one scale; with a constant on either side, an affine map."""
    slot = _constant_slot(site)
    if slot is None:
        _linear_combination(site, (1.0, -1.0))
        return
    constant = site.parameter(slot)
    if slot == 1:
        _affine(site, 0, Carrier.SUBTRAHEND, scale=np.ones_like(constant), offset=-constant)
    else:
        _affine(site, 1, Carrier.MINUEND, scale=-np.ones_like(constant), offset=constant)


def multiply(site: Site) -> None:
    """Mul: z = x·y, s_z = s_x·s_y and σ = 0; with a constant, an affine map."""
    slot = _constant_slot(site)
    if slot is None:
        _gate(site)
    else:
        scale = site.parameter(slot)
        _affine(site, 1 - slot, Carrier.MULTIPLIER, scale=scale, offset=np.zeros_like(scale))


def divide(site: Site) -> None:
    """Div of an activation by a constant: an affine map."""
    if _constant_slot(site) != 1:
        raise Opaque(Reason.UNSUPPORTED, "it divides by an activation")
    divisor = site.parameter(1)
    if not divisor.all():
        raise Opaque(Reason.NOT_FINITE, "it divides by zero")
    _affine(site, 0, Carrier.DIVISOR, scale=1.0 / divisor, offset=np.zeros_like(divisor))


def sum_(site: Site) -> None:
    """Sum of any number of activations: as Add."""
    _linear_combination(site, (1.0,) * len(site.node.inputs))


def negate(site: Site) -> None:
    """Neg: s_y = s_x, σ_y = −σ_x."""
    _linear_combination(site, (-1.0,))


def extremum(site: Site) -> None:
    """Max, Min of activations: one gauge for all, s > 0; what is constant keeps all as they are."""
    if any(site.constant(slot) is not None for slot in range(len(site.node.inputs))):
        raise Opaque(Reason.UNSUPPORTED, "it compares with a constant")
    site.positive(_selected(site, range(len(site.node.inputs))))


def where(site: Site) -> None:
    """Where: one gauge for both branches; σ = 0 where one of them is the constant 0."""
    zeros = [slot for slot in (1, 2) if (array := site.constant(slot)) is not None and not array.any()]
    label = _selected(site, [slot for slot in (1, 2) if slot not in zeros])
    if zeros:
        site.unshifted(label)


def _selected(site: Site, slots: Sequence[int]) -> Ids:
    """Give the result, which takes each of its elements from one of these operands, the gauge that they have in common.

    Where a gauge varies along an axis that the condition or another operand enlarges, broadcasting does to it what it
    does to the data.
    """
    rank = len(site.output_dims())
    operands = [labels.with_rank(site.label(slot), rank) for slot in slots]
    label = operands[0] if operands else labels.identity(rank)
    for other in operands[1:]:
        site.same(label, other)
        label = label if label.size >= other.size else other
    site.emit(label)
    return label


def _constant_slot(site: Site) -> int | None:
    """Return the one input that is constant, None where both are activations."""
    constant = [slot for slot in (0, 1) if site.constant(slot) is not None]
    if len(constant) == 2:
        raise Opaque(Reason.UNSUPPORTED, "both operands are constant")
    if any(np.isinf(array).any() for slot in constant if (array := site.constant(slot)) is not None):
        raise Opaque(Reason.NOT_FINITE, "it masks by infinity")
    return constant[0] if constant else None


def _linear_combination(site: Site, signs: Sequence[float]) -> None:
    """z = Σ ±x_i: one scale for all, σ_z = Σ ±σ_i."""
    rank = len(site.output_dims())
    operands = [labels.with_rank(site.label(slot), rank) for slot in range(len(signs))]
    shape = np.broadcast_shapes(*(label.shape for label in operands))
    if all((label == IDENTITY).all() for label in operands):
        return
    result = site.fresh(int(np.prod(shape))).reshape(shape)
    site.sum(operands)
    for label in operands:
        site.same_scale(result, label)
    # The operand that came last is solved for: along a residual stream no solution gets longer then.
    terms = sorted(zip(signs, operands, strict=True), key=lambda term: -int(term[1].max()))
    site.gauges.relate_shifts([*terms, (-1.0, result)], 0.0, site.index)
    site.emit(result)


def _gate(site: Site) -> None:
    """z = x·y: one operand is held at s = 1, a gate's if it is so already, and leaves the other's scale free."""
    free = 1 if (site.label(0) == IDENTITY).all() else 0
    site.hold(1 - free)
    label = labels.with_rank(site.label(free), len(site.output_dims()))
    site.unshifted(label)
    site.emit(label)


def _affine(site: Site, slot: int, carrier: Carrier, *, scale: Array, offset: Array) -> None:
    """y = a·x + b by constants, which broadcasting aligns at the right.

    1. Where they vary only along axes on which x's gauge does, or x's gauge varies nowhere and they vary along one
       axis, y gets variables of its own along these axes, and the node can be removed.
    2. Else, as for a position embedding, y's gauge varies as x's does, and the constant takes up what it can.

    What turns the sign is left to who decides whether it goes, see `Network.keep_sign`.
    """
    rank = len(site.output_dims())
    x = labels.with_rank(site.label(slot), rank)
    scale, offset = np.broadcast_arrays(*(labels.with_rank(_squeezed(array), rank) for array in (scale, offset)))
    extra = set(labels.varying(scale)) - set(labels.varying(x))
    followed = not extra or (len(extra) == 1 and not labels.varying(x))
    shape = np.broadcast_shapes(x.shape, scale.shape) if followed else x.shape
    y = site.fresh(int(np.prod(shape))).reshape(shape)
    removable = followed and not _enlarges(site, slot)
    site.pointwise(
        Pointwise(
            node=site.node,
            slot=slot,
            carrier=carrier,
            dtype=site.dtype(1 - slot),
            affine=Affine(scale, offset),
            sources=x,
            targets=y,
            removable=removable,
        )
    )
    if not carrier.has_scale and not (carrier.turns_sign and removable):
        site.same_scale(y, x)
    if not carrier.has_offset:
        _shift_by_factor(site, x, y, scale if followed else None)
    site.emit(y)


def _shift_by_factor(site: Site, x: Ids, y: Ids, scale: Array | None) -> None:
    """Mul and Div have no bias to hold a shift: σ_y = a·σ_x, or none where a varies along more axes than the gauge."""
    if scale is None:
        site.unshifted(x)
        site.unshifted(y)
        return
    site.gauges.relate_shifts([(1.0, y), (-scale, x)], 0.0, site.index)


def _enlarges(site: Site, slot: int) -> bool:
    """Whether broadcasting against the constant may give the result a larger shape than the activation's."""
    constant, dims = site.weight(1 - slot).shape, site.dims(slot)
    if len(constant) > len(dims):
        return True
    aligned = dims[len(dims) - len(constant) :]
    return any(extent not in {1, dim} for extent, dim in zip(constant, aligned, strict=True))


def _is_bias(site: Site, slot: int) -> bool:
    """Whether the constant is the bias of a linear operator, whose rule has labelled the product as the sum."""
    producer = site.value(1 - slot).producer()
    linear = None if producer is None else site.network.linears.get(producer)
    return linear is not None and linear.bias == (site.node, slot)


def _squeezed(array: Array) -> Array:
    """Return the array with extent 1 along every axis on which it does not vary."""
    for axis in range(array.ndim):
        if array.shape[axis] > 1 and ((first := array.take([0], axis=axis)) == array).all():
            array = first
    return array
