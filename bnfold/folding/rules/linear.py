"""Linear operators with constant weights: they absorb scales and shifts on both sides.

ỹ = s_y·(W·x + b + σ_y) with x = x̃/s_x − σ_x is again linear: W' = s_y·W/s_x and b' = s_y·(b + σ_y − Σ W·σ_x).
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bnfold.folding import labels
from bnfold.folding.affine import Array
from bnfold.folding.forms import Linear, Recurrent
from bnfold.folding.gauges import IDENTITY, Ids
from bnfold.folding.network import Network, Opaque
from bnfold.folding.report import Reason
from bnfold.folding.rules.padding import border_taps, is_padded
from bnfold.folding.site import Site


def conv(site: Site) -> None:
    """Conv, W (M, C/g, *kernel), output channel axis 1: all free, but σ_x = 0 where zero padding reaches x.

    At a price σ_x is free there too, if the spatial extents are static: what the border lacks is added behind.
    """
    weight = site.weight(1)
    groups = site.integer("group", 1)
    count, per_group = weight.shape[:2]
    channels = site.fresh(count)
    inputs = site.channels(0, axis=1, count=groups * per_group, rank=weight.ndim)
    taps = None
    if is_padded(site, weight.shape[2:]):
        taps = border_taps(site, weight.shape[2:]) if site.at_a_price else None
        if taps is None:
            site.unshifted(inputs)
    spatial = (1,) * (weight.ndim - 2)
    sources = _per_group(inputs, groups, count // groups)
    site.linear(
        Linear(
            node=site.node,
            weight_slot=1,
            weight=weight,
            sources=sources.reshape(-1, per_group, *spatial),
            targets=channels.reshape(count, 1, *spatial),
            contraction=tuple(range(1, weight.ndim)),
            channels=channels,
            offset=_bias(site, 2, count),
            bias=(site.node, 2),
            taps=taps,
        )
    )
    site.emit_channels(channels, axis=1, rank=weight.ndim)


def conv_transpose(site: Site) -> None:
    """ConvTranspose, W (C, M/g, *kernel), output channel axis 1: all free, but σ_x = 0: taps differ by position."""
    weight = site.weight(1)
    groups = site.integer("group", 1)
    count, per_group = weight.shape[0], weight.shape[1]
    inputs = site.channels(0, axis=1, count=count, rank=weight.ndim)
    site.unshifted(inputs)
    channels = site.fresh(groups * per_group)
    spatial = (1,) * (weight.ndim - 2)
    targets = _per_group(channels, groups, count // groups)
    site.linear(
        Linear(
            node=site.node,
            weight_slot=1,
            weight=weight,
            sources=inputs.reshape(count, 1, *spatial),
            targets=targets.reshape(-1, per_group, *spatial),
            contraction=(0, *range(2, weight.ndim)),
            channels=channels,
            offset=_bias(site, 2, groups * per_group),
            bias=(site.node, 2),
        )
    )
    site.emit_channels(channels, axis=1, rank=weight.ndim)


def gemm(site: Site) -> None:
    """Gemm, Y = α·A·B + β·C with constant B and C, output channel axis 1: scales and shifts free."""
    gain = site.number("alpha", 1.0)
    if gain == 0.0:
        raise Opaque(Reason.UNSUPPORTED, "its alpha is 0")
    weight = site.weight(1)
    k_axis = 1 if site.integer("transB", 0) else 0
    inputs = site.channels(0, axis=0 if site.integer("transA", 0) else 1, count=weight.shape[k_axis], rank=2)
    count = weight.shape[1 - k_axis]
    channels = site.fresh(count)
    offset = site.parameter(2) if site.has(2) else np.zeros(1)
    if labels.with_rank(offset, 2).shape[0] != 1:
        raise Opaque(Reason.UNSUPPORTED, "the Gemm's C varies from row to row")
    site.linear(
        Linear(
            node=site.node,
            weight_slot=1,
            weight=weight,
            gain=gain,
            sources=labels.along(inputs, k_axis, 2),
            targets=labels.along(channels, 1 - k_axis, 2),
            contraction=(k_axis,),
            channels=channels,
            offset=np.broadcast_to(site.number("beta", 1.0) * offset.reshape(-1), (count,)),
            bias=(site.node, 2),
        )
    )
    site.emit_channels(channels, axis=1, rank=2)


def matmul(site: Site) -> None:
    """MatMul by a constant matrix on the right, or of an activation with x, whose channels are on its last axis."""
    if site.constant(1) is not None and site.weight(1).ndim == 2:
        _matmul_by_weight(site)
    else:
        _matmul_of_activation(site)


def _matmul_by_weight(site: Site) -> None:
    """x (…, K) · W (K, M), output channel axis −1: all free; an Add behind holds the bias, or is put there."""
    weight, rank = site.weight(1), site.rank(0)
    inputs = site.channels(0, axis=rank - 1, count=weight.shape[0])
    channels = site.fresh(weight.shape[1])
    bias = bias_add(site.network, site.node, [*(1,) * (rank - 1), len(channels)])
    offset = np.zeros(1) if bias is None else site.network.facts.constants.get(bias[0].inputs[bias[1]])
    assert offset is not None
    site.linear(
        Linear(
            node=site.node,
            weight_slot=1,
            weight=weight,
            sources=labels.along(inputs, 0, 2),
            targets=labels.along(channels, 1, 2),
            contraction=(0,),
            channels=channels,
            offset=np.broadcast_to(offset.ravel().astype(np.float64), channels.shape),
            bias=bias,
        )
    )
    site.emit_channels(channels, axis=rank - 1, rank=rank)


def _matmul_of_activation(site: Site) -> None:
    """A·x for any A, constant or not: rows of x are mixed, so that s_y = s_x along the last axis and σ = 0."""
    label, rank = site.label(1), len(site.output_dims())
    if label.ndim < 2:
        raise Opaque(Reason.UNSUPPORTED, "the right operand is a vector")
    label = site.uniform(label, [label.ndim - 2])
    site.unshifted(label)
    if site.rank(0) == 1:
        label = np.squeeze(label, axis=-2)
    site.emit(labels.with_rank(label, rank))


def recurrent(site: Site) -> None:
    """LSTM, GRU, RNN, W (D, G·H, I), input channel axis 2: s_x and σ_x free, taken up by W and b; y is held."""
    weight = site.weight(1)
    directions, rows, count = weight.shape
    inputs = site.channels(0, axis=2, count=count)
    offset = site.parameter(3) if site.has(3) else np.zeros((directions, 2 * rows))
    site.linear(
        Recurrent(
            node=site.node,
            weight_slot=1,
            weight=weight,
            sources=labels.along(inputs, 2, 3),
            targets=labels.identity(3),
            contraction=(2,),
            channels=np.full(offset.size, IDENTITY),
            offset=offset.ravel(),
            bias=(site.node, 3),
        )
    )


def bias_add(network: Network, linear: ir.Node, channels: Sequence[int]) -> tuple[ir.Node, int] | None:
    """Return the Add that alone reads a linear operator's result and adds its bias, and the input that holds the bias.

    The bias is a finite constant of floating point, one number for each channel or for all, of no higher rank.

    Args:
        network: the graph.
        linear: an operator without a bias of its own.
        channels: the extents of its result along the axes of the channels, 1 along all others.
    """
    product = linear.outputs[0]
    if len(product.uses()) != 1 or product.is_graph_output() or not channels:
        return None
    (use,) = product.uses()
    slot = 1 - use.idx
    if use.node.op_type != "Add" or use.node.graph is not linear.graph:
        return None
    bias = network.facts.constants.get(use.node.inputs[slot])
    if bias is None or not 0 < bias.ndim <= len(channels):
        return None
    aligned = zip(labels.with_rank(bias, len(channels)).shape, channels, strict=True)
    fits = all(extent in {1, count} for extent, count in aligned)
    return (use.node, slot) if fits and np.isfinite(bias).all() else None


def _per_group(channels: Ids, groups: int, repeats: int) -> Ids:
    """Return one row of channels for each of the ``repeats`` channels on the other side of a group; one if g = 1."""
    rows = channels.reshape(groups, -1)
    return rows if groups == 1 else np.repeat(rows, repeats, axis=0)


def _bias(site: Site, slot: int, count: int) -> Array:
    return site.parameter(slot) if site.has(slot) else np.zeros(count)
