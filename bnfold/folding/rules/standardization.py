"""Operators that standardize each sample by its own statistics, and end in y = a·z + b with constant a and b.

Their input stays as it is: ε does not scale along with it. Their parameters take up any gauge of y.
"""

import numpy as np

from bnfold.folding import labels
from bnfold.folding.affine import Affine
from bnfold.folding.forms import Carrier, Standardization
from bnfold.folding.network import Opaque
from bnfold.folding.report import Reason
from bnfold.folding.site import Site

PER_CHANNEL = 21
"""The opset since which GroupNormalization has parameters for each channel; before, it had them for each group."""


def instance_normalization(site: Site) -> None:
    """InstanceNormalization, output channel axis 1: x is held, y is free."""
    _standardization(site, axis=1)


def group_normalization(site: Site) -> None:
    """GroupNormalization with parameters for each channel, output channel axis 1: x is held, y is free."""
    if site.opset < PER_CHANNEL:
        raise Opaque(Reason.UNSUPPORTED, "its parameters are for groups of channels")
    _standardization(site, axis=1)


def layer_normalization(site: Site) -> None:
    """LayerNormalization over the last axis, whose channels are there: x is held, y is free."""
    _require_last_axis(site)
    _standardization(site, axis=site.rank(0) - 1)


def rms_normalization(site: Site) -> None:
    """RMSNormalization over the last axis, whose channels are there: x is held, s_y is free, σ_y = 0 without a bias."""
    _require_last_axis(site)
    _standardization(site, axis=site.rank(0) - 1, shifts=False)


def _require_last_axis(site: Site) -> None:
    rank = site.rank(0)
    if site.integer("axis", -1) % rank != rank - 1 or site.weight(1).ndim > 1:
        raise Opaque(Reason.UNSUPPORTED, "it standardizes over several axes")
    if len(site.node.outputs) > 1 and any(output.uses() for output in site.node.outputs[1:]):
        raise Opaque(Reason.UNSUPPORTED, "its statistics are read")


def _standardization(site: Site, axis: int, *, shifts: bool = True) -> None:
    scale, rank = site.parameter(1), site.rank(0)
    offset = site.parameter(2) if shifts and site.has(2) else np.zeros_like(scale)
    y = site.fresh(scale.size)
    site.pointwise(
        Standardization(
            node=site.node,
            slot=0,
            carrier=Carrier.STANDARDIZATION,
            removable=False,
            dtype=site.dtype(1),
            affine=Affine(labels.along(scale, axis, rank), labels.along(offset, axis, rank)),
            sources=labels.identity(rank),
            targets=labels.along(y, axis, rank),
            axis=axis,
            shifts=shifts,
        )
    )
    if not shifts:
        site.unshifted(y)
    site.emit_channels(y, axis=axis, rank=rank)
