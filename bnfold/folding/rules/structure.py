"""Operators that move data without changing it: a label moves as the data do, each channel keeps its gauge."""

import numpy as np

from bnfold.folding import labels
from bnfold.folding.gauges import Ids
from bnfold.folding.network import Opaque
from bnfold.folding.report import Reason
from bnfold.folding.site import Site

RESIZE_HAS_A_REGION = 11
"""The opset since which Resize has a second input, the region of interest, before its scales."""


def extents(site: Site) -> None:
    """Shape, Size: any gauge, since no extent depends on it."""
    site.label(0)


def identity(site: Site) -> None:
    """Identity: the same gauge."""
    site.emit(site.label(0))


def cast(site: Site) -> None:
    """Cast from one type of floating point to another: the same gauge."""
    types = [site.element_type(value) for value in (site.value(0), site.node.outputs[0])]
    if not all(dtype.is_floating_point() for dtype in types):
        raise Opaque(Reason.UNSUPPORTED, f"it casts {types[0].name} to {types[1].name}")
    site.emit(site.label(0))


def dropout(site: Site) -> None:
    """Dropout at inference: the same gauge."""
    training = site.constant(2)
    if site.has(2) and (training is None or training.any()):
        raise Opaque(Reason.TRAINING_MODE, "it drops values (training mode)")
    site.emit(site.label(0))


def reshape(site: Site) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: axes regroup; uniform where an unknown extent hides which is which."""
    label, before, after = site.label(0), site.dims(0), site.output_dims()
    moved = labels.reshaped(label, before, after)
    if moved is None:
        label = site.uniform(label, labels.varying(label))
        moved = label.reshape((1,) * len(after))
    site.emit(moved)


def transpose(site: Site) -> None:
    """Transpose: axes permute."""
    site.emit(site.label(0).transpose(site.integers("perm")))


def expand(site: Site) -> None:
    """Expand: repeats along axes on which the gauge does not vary."""
    site.emit(labels.with_rank(site.label(0), len(site.output_dims())))


def tile(site: Site) -> None:
    """Tile: repeats along any axis."""
    label, repeats = site.label(0), site.constant(1)
    if repeats is None:
        label = site.uniform(label, labels.varying(label))
        repeats = np.ones(label.ndim)
    site.emit(np.tile(label, [int(n) if extent > 1 else 1 for n, extent in zip(repeats, label.shape, strict=True)]))


def concat(site: Site) -> None:
    """Concat: labels joined along the axis; one gauge for all inputs where it is not that of the channels.

    It is taken for theirs if a gauge varies along it, or if none varies at all; its extents must be known then.
    """
    slots = range(len(site.node.inputs))
    rank = site.rank(0)
    axis = site.integer("axis", 1) % rank
    extents = [site.dims(slot)[axis] for slot in slots]
    operands = [site.label(slot) for slot in slots]
    shape = list(np.broadcast_shapes(*(operand.take([0], axis=axis).shape for operand in operands)))
    apart = any(operand.shape[axis] > 1 for operand in operands) or all(operand.size == 1 for operand in operands)
    if apart and all(isinstance(extent, int) for extent in extents):
        parts = [
            np.broadcast_to(operand, [*shape[:axis], int(extent or 0), *shape[axis + 1 :]])
            for operand, extent in zip(operands, extents, strict=True)
        ]
        site.emit(np.concatenate(parts, axis=axis))
        return
    uniform = [site.uniform(operand, [axis]) for operand in operands]
    for operand in uniform[1:]:
        site.same(uniform[0], operand)
    site.emit(np.broadcast_to(uniform[0], shape))


def split(site: Site) -> None:
    """Split: each output takes its part of the label."""
    label = site.label(0)
    axis = site.integer("axis", 0) % label.ndim
    extents = [site.output_dims(output)[axis] for output in range(len(site.node.outputs))]
    if not all(isinstance(extent, int) for extent in extents):
        label = site.uniform(label, [axis])
    if label.shape[axis] == 1:
        parts = [label] * len(extents)
    else:
        parts = np.split(label, np.cumsum([int(extent or 0) for extent in extents])[:-1], axis=axis)
    for output, part in enumerate(parts):
        site.emit(part, output)


def slice_(site: Site) -> None:
    """Slice: the label is sliced along the axes on which it varies."""
    label = site.label(0)
    starts, ends = site.integers_of("starts", 1), site.integers_of("ends", 2)
    if starts is None or ends is None:
        raise Opaque(Reason.UNSUPPORTED, "it has no starts or ends")
    axes = site.integers_of("axes", 3) or range(len(starts))
    steps = site.integers_of("steps", 4) or [1] * len(starts)
    index = [slice(None)] * label.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if label.shape[axis] > 1:
            index[axis] = slice(start, end, step)
    site.emit(label[tuple(index)])


def gather(site: Site) -> None:
    """Gather by constant indices: the label is gathered; by computed ones: one gauge along the axis."""
    label, indices = site.label(0), site.constant(1)
    axis = site.integer("axis", 0) % label.ndim
    if indices is None:
        label = site.uniform(label, [axis])
    if label.shape[axis] > 1 and indices is not None:
        site.emit(np.take(label, indices.astype(np.int64), axis=axis))
    else:
        site.emit(label.reshape(label.shape[:axis] + (1,) * site.rank(1) + label.shape[axis + 1 :]))


def pad(site: Site) -> None:
    """Pad by reflection or edge: the same gauge, uniform along padded axes; by zeros: σ = 0 as well."""
    label, mode = site.label(0), site.string("mode", "constant")
    pads = site.integers_of("pads", 1) or []
    axes = [axis % label.ndim for axis in site.integers_of("axes", 3) or range(label.ndim)]
    padded = {axis for position, axis in enumerate(axes) if pads[position] or pads[position + len(axes)]}
    label = site.uniform(label, sorted(padded))
    if mode == "constant" and padded:
        fill = site.constant(2) if site.has(2) else np.asarray(site.number("value", 0.0))
        if fill is None or fill.any():
            raise Opaque(Reason.UNSUPPORTED, "it pads with a value other than 0")
        site.unshifted(label)
    site.emit(label)


def depth_to_space(site: Site) -> None:
    """DepthToSpace: b² channels become positions of one, which share a gauge."""
    label, block = site.label(0), site.integer("blocksize", 1)
    channels = site.channels(0, axis=1, count=label.shape[1])
    if channels.size > 1:
        crd = site.string("mode", "DCR") == "CRD"
        blocks = channels.reshape((-1, block * block) if crd else (block * block, -1))
        channels = site.uniform(blocks, [1 if crd else 0]).ravel()
    site.emit_channels(channels, axis=1, rank=label.ndim)


def space_to_depth(site: Site) -> None:
    """SpaceToDepth: positions become channels, each block of them with the gauges of all input channels in order."""
    label, block = site.label(0), site.integer("blocksize", 1)
    channels = site.channels(0, axis=1, count=label.shape[1])
    if channels.size > 1:
        channels = np.tile(channels, block * block)
    site.emit_channels(channels, axis=1, rank=label.ndim)


def resize(site: Site) -> None:
    """Resize, Upsample: interpolation weights sum to 1, so that the gauge is kept; uniform along resized axes."""
    if site.string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise Opaque(Reason.UNSUPPORTED, "it extrapolates by a constant")
    label: Ids = site.label(0)
    site.emit(site.uniform(label, [axis for axis in labels.varying(label) if not _is_kept(site, axis)]))


def _is_kept(site: Site, axis: int) -> bool:
    """Whether a Resize leaves an axis alone: by a scale of exactly 1, or by a size that is the same."""
    if site.has(3):
        return site.dims(0)[axis] == site.output_dims()[axis]
    attribute = site.node.attributes.get("scales")
    scales = site.constant(2 if site.opset >= RESIZE_HAS_A_REGION else 1)
    if attribute is not None:
        scales = np.asarray(attribute.as_floats())
    return scales is not None and scales.size > axis and scales[axis] == 1.0
