"""Activation functions that commute with positive scales: f(s·x) = s·f(x) for s > 0."""

from bnfold.folding.network import Opaque
from bnfold.folding.report import Reason
from bnfold.folding.site import Site

MAX_BROADCASTS = 8
"""The opset since which Max broadcasts its operands."""


def relu(site: Site) -> None:
    """Relu: s_y = s_x > 0, σ = 0; at a price σ_y = σ_x, as a maximum with a constant for each channel."""
    if not site.at_a_price or site.opset < MAX_BROADCASTS:
        homogeneous(site)
        return
    label = site.label(0)
    site.positive(label)
    site.threshold(label)
    site.emit(label)


def homogeneous(site: Site) -> None:
    """LeakyRelu, PRelu, Abs: s_y = s_x > 0, σ = 0."""
    label = site.label(0)
    site.positive(label)
    site.unshifted(label)
    site.emit(label)


def clip(site: Site) -> None:
    """Clip from 0 upwards without an upper bound, which is Relu."""
    attributes = site.number("min", 0.0 if site.has(1) else -1.0), site.number("max", float("inf"))
    lower = site.constant(1)
    if site.has(2) or attributes != (0.0, float("inf")) or (site.has(1) and (lower is None or lower.any())):
        raise Opaque(Reason.UNSUPPORTED, "its bounds are not 0 and infinity")
    relu(site)
