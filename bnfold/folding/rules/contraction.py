"""Einsum: sums of products over named axes, by a constant or of activations."""

import string
from dataclasses import dataclass

import numpy as np

from bnfold.folding import labels
from bnfold.folding.forms import Contraction
from bnfold.folding.gauges import IDENTITY, Ids
from bnfold.folding.network import Opaque
from bnfold.folding.report import Reason
from bnfold.folding.rules.linear import bias_add
from bnfold.folding.site import Site


@dataclass(frozen=True)
class Equation:
    """An equation with one letter an axis: the axes of each operand, and those of the result.

    What the result does not name is summed over.
    """

    operands: tuple[str, ...]
    result: str

    @classmethod
    def of(cls, site: Site) -> "Equation":
        """Read a node's equation; letters that the equation lacks take the place of its ellipses."""
        equation = site.string("equation", "").replace(" ", "")
        left, arrow, result = equation.partition("->")
        if not arrow:  # in order, what is there once
            once = sorted(letter for letter in {*left} & {*string.ascii_letters} if left.count(letter) == 1)
            result = ("..." if "..." in left else "") + "".join(once)
        operands = left.split(",")
        spare = [letter for letter in string.ascii_letters if letter not in equation]
        counts = {site.rank(slot) - len(o) + 3 for slot, o in enumerate(operands) if "..." in o}
        if len(counts) > 1 or max(counts, default=0) > len(spare):
            raise Opaque(Reason.UNSUPPORTED, f"the ellipses of {equation} stand for different numbers of axes")
        ellipsis = "".join(spare[: max(counts, default=0)])
        operands, result = [o.replace("...", ellipsis) for o in operands], result.replace("...", ellipsis)
        if any(len(set(o)) < len(o) for o in operands):
            raise Opaque(Reason.UNSUPPORTED, f"{equation} takes a diagonal")
        return cls(tuple(operands), result)


def einsum(site: Site) -> None:
    """Einsum of x and a constant, along the constant's axes: all free; else one operand's s_y = s_x, and σ = 0.

    1. Where x's gauge varies along axes of a constant at most, this is a linear operator: its output channels are the
       axes that the constant gives the result.
    2. Elsewhere the gauge of one operand passes along the axes that stay, and is uniform along those that are summed
       over; the others are held. A shift passes if axes are only permuted.
    """
    equation = Equation.of(site)
    constant = [slot for slot in range(len(equation.operands)) if site.constant(slot) is not None]
    if equation.result and len(equation.operands) == 2 and len(constant) == 1:
        (slot,) = constant
        if _varies_along_constant(site, equation, slot):
            _linear(site, equation, slot)
            return
    _pass(site, equation, [slot for slot in range(len(equation.operands)) if slot not in constant])


def _varies_along_constant(site: Site, equation: Equation, slot: int) -> bool:
    """Whether x's gauge varies along axes of the constant alone, or not at all."""
    x = equation.operands[1 - slot]
    return all(x[axis] in equation.operands[slot] for axis in labels.varying(site.label(1 - slot)))


def _linear(site: Site, equation: Equation, slot: int) -> None:
    """The constant is a weight: its axes that the result has are the output channels, the others are summed over."""
    weight, axes, x = site.weight(slot), equation.operands[slot], equation.operands[1 - slot]
    extents = dict(zip(axes, weight.shape, strict=True))
    if any(extents[letter] != extent for letter, extent in _known(site, x, 1 - slot) if letter in extents):
        raise Opaque(Reason.UNSUPPORTED, "an axis of extent 1 is broadcast")
    label = _uniform(site, 1 - slot, [letter for letter in x if letter not in axes], x)
    if any(letter not in axes and letter not in equation.result for letter in x):
        site.unshifted(label)  # it would count once for each of what is summed over
    shape = [extents.get(letter, 1) for letter in equation.result]
    channels = site.fresh(int(np.prod(shape)))
    kept = [letter for letter in axes if letter in equation.result]
    rank = len(equation.result)
    bias = bias_add(site.network, site.node, shape)
    offset = np.zeros(1) if bias is None else site.network.facts.constants.get(bias[0].inputs[bias[1]])
    assert offset is not None
    site.linear(
        Contraction(
            node=site.node,
            weight_slot=slot,
            weight=weight,
            sources=_laid_out(label, x, axes),
            targets=_laid_out(channels.reshape(shape), equation.result, axes),
            contraction=tuple(axis for axis, letter in enumerate(axes) if letter not in equation.result),
            channels=channels,
            offset=np.broadcast_to(labels.with_rank(offset.astype(np.float64), rank), shape).ravel(),
            bias=bias,
            order=tuple(kept.index(letter) for letter in equation.result if letter in kept),
            shape=tuple(shape),
        )
    )
    site.emit(channels.reshape(shape))


def _known(site: Site, axes: str, slot: int) -> list[tuple[str, int]]:
    """Return the axes of an operand whose extents are known, with these."""
    return [(letter, extent) for letter, extent in zip(axes, site.dims(slot), strict=True) if isinstance(extent, int)]


def _pass(site: Site, equation: Equation, activations: list[int]) -> None:
    """One operand's scale passes: of the first whose gauge is not held already. All others stay as they are."""
    if not activations:
        raise Opaque(Reason.UNSUPPORTED, "all its operands are constant")
    free = next((slot for slot in activations if (site.label(slot) != IDENTITY).any()), activations[0])
    for slot in activations:
        if slot != free:
            site.hold(slot)
    axes = equation.operands[free]
    label = _uniform(site, free, [letter for letter in axes if letter not in equation.result], axes)
    if len(equation.operands) > 1 or len(axes) > len(equation.result):
        site.unshifted(label)
    site.emit(_laid_out(label, axes, equation.result))


def _uniform(site: Site, slot: int, letters: list[str], axes: str) -> Ids:
    """Return an operand's label, made uniform along some of its axes."""
    label = site.label(slot)
    return site.uniform(label, [axis for axis in labels.varying(label) if axes[axis] in letters])


def _laid_out(label: Ids, axes: str, target: str) -> Ids:
    """Return a label with the axes of ``target`` in its order; it varies along none that it does not have."""
    stays = [letter for letter in target if letter in axes]
    gone = tuple(axis for axis, letter in enumerate(axes) if letter not in target)
    order = [letter for letter in axes if letter in target]
    moved = label.squeeze(gone).transpose([order.index(letter) for letter in stays])
    return np.expand_dims(moved, tuple(axis for axis, letter in enumerate(target) if letter not in axes))
