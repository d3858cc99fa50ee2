"""The heads of detectors in float64: which boxes are kept, and what lies in a region."""

from collections.abc import Iterator
from math import ceil

import numpy as np

from bnfold.verify.oracle.types import Array, Value


def non_max_suppression(
    boxes: Array,
    scores: Array,
    most: Value | None = None,
    overlap: Array | None = None,
    least: Array | None = None,
    *,
    center_point_box: int | None = 0,
) -> Value:
    """Return (sample, class, box) of each box that no better one of its class overlaps by more than ``overlap``.

    Boxes (N, B, 4) are two opposite corners, or center and extents; scores are (N, C, B). Of each class at most
    ``most`` boxes whose score exceeds ``least``, best first. ONNX NonMaxSuppression-10, -11.
    """
    limit = 0 if most is None else int(most.item())
    threshold = 0.0 if overlap is None else float(overlap.item())
    corners = _corners(boxes, center=bool(center_point_box))
    kept = [
        (sample, label, box)
        for sample, labels in enumerate(scores)
        for label, values in enumerate(labels)
        for box in _kept(corners[sample], values, limit, threshold, None if least is None else float(least.item()))
    ]
    return np.array(kept, dtype=np.int64).reshape(-1, 3)


def _corners(boxes: Array, *, center: bool) -> Array:
    """Return boxes (..., 4) as lower corner and upper corner."""
    if center:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        return np.concatenate([middle - half, middle + half], axis=-1)
    ends = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(*ends), np.maximum(*ends)], axis=-1)


def _kept(boxes: Array, scores: Array, most: int, overlap: float, least: float | None) -> Iterator[int]:
    left = np.argsort(-scores, kind="stable")
    if least is not None:
        left = left[scores[left] > least]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for _ in range(min(most, len(left))):
        if not left.size:
            return
        best, left = left[0], left[1:]
        yield int(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        whole = area[best] + area[left] - shared
        left = left[~((whole > 0) & (shared > overlap * whole))]


def roi_align(
    x: Array,
    rois: Array,
    samples: Value,
    *,
    coordinate_transformation_mode: str | None = "output_half_pixel",
    mode: str | None = "avg",
    output_height: int | None = 1,
    output_width: int | None = 1,
    sampling_ratio: int | None = 0,
    spatial_scale: float | None = 1.0,
) -> Array:
    """Return of every region (x₁, y₁, x₂, y₂) a map of values interpolated at points within each of its cells.

    A cell takes their mean, or with ``mode`` max the largest of the four weighted neighbours of any of them. x is
    (N, C, H, W), rois (R, 4), samples (R,), the result (R, C, output height, output width). ONNX RoiAlign-10 to -22;
    below opset 16 there was no ``coordinate_transformation_mode``, and it meant ``output_half_pixel``.
    """
    half = coordinate_transformation_mode == "half_pixel"
    shape = (output_height or 1, output_width or 1)
    y = np.empty((len(rois), x.shape[1], *shape))
    scaled = rois * (spatial_scale or 1.0) - (0.5 if half else 0.0)
    for result, (left, top, right, bottom), sample in zip(y, scaled.tolist(), samples.tolist(), strict=True):
        spans = [(top, bottom - top), (left, right - left)]
        taps = [
            _taps(start, size if half else max(size, 1.0), cells, sampling_ratio or 0, extent)
            for (start, size), cells, extent in zip(spans, shape, x.shape[2:], strict=True)
        ]
        pool = _largest if mode == "max" else _mean
        result[:] = pool(x[sample], *taps)
    return y


def _taps(start: float, size: float, cells: int, ratio: int, extent: int) -> Array:
    """Return the weights of all samples at each point of each cell, in two parts: (cells, points, 2, extent)."""
    points = ratio or ceil(size / cells)
    if points < 1:  # a region without extent
        return np.zeros((cells, 1, 2, extent))
    at = start + (np.arange(cells)[:, None] + (np.arange(points) + 0.5) / points) * size / cells
    inside = (at >= -1) & (at <= extent)
    at = np.clip(at, 0, extent - 1)
    low = np.floor(at).astype(np.int64)
    fraction = at - low
    weights = np.zeros((cells, points, 2, extent))
    rows, columns = np.indices(at.shape)
    weights[rows, columns, 0, low] = (1 - fraction) * inside
    weights[rows, columns, 1, np.minimum(low + 1, extent - 1)] = fraction * inside
    return weights


def _mean(image: Array, rows: Array, columns: Array) -> Array:
    """Return (C, cells, cells): the points form a grid, so that the mean over them is one product an axis."""
    return rows.sum(axis=2).mean(axis=1) @ image @ columns.sum(axis=2).mean(axis=1).T


def _largest(image: Array, rows: Array, columns: Array) -> Array:
    weighted = np.einsum("apih,chw,bqjw->cabpiqj", rows, image, columns, optimize=True)
    return weighted.max(axis=(3, 4, 5, 6))
