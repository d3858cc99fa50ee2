"""A one-stage detector (Z. Tian et al., "FCOS", 2019): a feature pyramid, heads shared by its levels, BN for each.

Every cell of every level scores the classes and tells a box; a cell of stride s at (x, y) is responsible for objects of
the size that its level stands for, if it lies in the middle of one.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnfold import nn as bnn

RECIPE = {
    "data": "scattered-boxes",
    "epochs": 12,
    "batch_size": 24,
    "optimizer": "adamw",
    "learning_rate": 0.005,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "loss": ":detection_loss",
    "metrics": [":average_precision"],
}

CLASSES = 10
STRIDES = (4, 8)
SIZES = (0.0, 9.0, 32.0)
"""Level k finds boxes whose longer side is above SIZES[k] and at most SIZES[k + 1] pixels."""
_MIDDLE = 1.5
"""A cell is responsible within this many strides of a box's centre."""
_GAMMA = 2.0
_ALPHA = 0.25


def detection_loss(found: Tensor, objects: Tensor) -> Tensor:
    """Return the focal loss of the classes (T. Lin et al., 2017) and 1 − IoU of the boxes, each a responsible cell.

    A mean over the images, each by its own responsible cells: minibatches cut into parts, for several processes or to
    save memory, then add up to the same loss.

    Args:
        found: ``(N, cells, 10 + 4)``, logits of the classes, then x₀, y₀, x₁, y₁ in pixels.
        objects: ``(N, objects, 5)``, class and box, class −1 for none.
    """
    logits, boxes = found[..., :CLASSES], found[..., CLASSES : CLASSES + 4]
    owner = responsible(found.shape[1], objects)
    is_owned = owner >= 0
    truth = objects.gather(1, owner.clamp(min=0).unsqueeze(2).expand(-1, -1, objects.shape[2]))
    wanted = functional.one_hot(truth[..., 0].long().clamp(min=0), CLASSES) * is_owned.unsqueeze(2)
    surprise = functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="none")
    missed = 1 - torch.exp(-surprise)
    balance = torch.where(wanted == 1, _ALPHA, 1 - _ALPHA)
    focal = (balance * missed**_GAMMA * surprise).sum(dim=(1, 2))
    sample, cell = torch.nonzero(is_owned, as_tuple=True)
    apart = 1 - overlap(boxes[sample, cell], truth[sample, cell, 1:5])
    return mean_over_images(focal, slice(None), owner) + mean_over_images(apart, sample, owner)


def mean_over_images(values: Tensor, sample: Tensor | slice, owner: Tensor) -> Tensor:
    """Return the mean over the images of the sum of each one's values for each of its responsible cells.

    Args:
        values: ``(n,)``.
        sample: ``(n,)``, whose image each of them is.
        owner: ``(N, cells)``, as `responsible` tells.
    """
    cells = (owner >= 0).sum(dim=1).clamp(min=1)
    return (values / cells[sample]).sum() / len(owner)


def average_precision(found: Tensor, objects: Tensor) -> float:
    """Return the area under precision over recall, boxes met from an IoU of 0.5 on, as a mean over the classes."""
    kept = [detections(sample[:, :CLASSES].sigmoid(), sample[:, CLASSES : CLASSES + 4]) for sample in found]
    found_objects = [
        (sample, label, score, overlap_table(box[None], objects[sample, :, 1:5])[0])
        for sample, rows in enumerate(kept)
        for label, score, box in rows
    ]
    return mean_area(found_objects, objects)


def mean_area(found: list[tuple[int, int, float, Tensor]], objects: Tensor) -> float:
    """Return the mean average precision of detections ``(sample, class, score, IoU with each object)``."""
    areas: list[float] = []
    for label in range(CLASSES):
        is_class = objects[:, :, 0] == label
        if not is_class.any():
            continue
        ranked = sorted((row for row in found if row[1] == label), key=lambda row: -row[2])
        free = is_class.clone()
        hits: list[float] = []
        for sample, _, _, ious in ranked:
            ious = torch.where(free[sample], ious, 0.0)
            best = int(ious.argmax())
            is_hit = bool(ious[best] >= 0.5)
            free[sample, best] &= not is_hit
            hits.append(float(is_hit))
        areas.append(_area(torch.tensor(hits, dtype=torch.float64), int(is_class.sum())))
    return sum(areas) / len(areas)


def _area(hits: Tensor, wanted: int) -> float:
    """Return Σ over hits of 1/wanted times the best precision from there on."""
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    return float((best * hits).sum() / wanted)


def detections(scores: Tensor, boxes: Tensor, *, least: float = 0.05) -> list[tuple[int, float, Tensor]]:
    """Return class, score and box of what is left of a sample's cells when each class keeps its best of what overlaps.

    Args:
        scores: ``(cells, classes)``, from 0 to 1.
        boxes: ``(cells, 4)``.
        least: scores below do not count.
    """
    return [(label, float(scores[cell, label]), boxes[cell]) for cell, label in kept_cells(scores, boxes, least)]


def kept_cells(scores: Tensor, boxes: Tensor, least: float = 0.05) -> list[tuple[int, int]]:
    """Return cell and class of each detection (non-maximum suppression at an IoU of 0.5)."""
    kept: list[tuple[int, int]] = []
    ious = overlap_table(boxes, boxes)
    for label in range(scores.shape[1]):
        own: list[int] = []
        for cell in scores[:, label].argsort(descending=True).tolist():
            if scores[cell, label] < least:
                break
            if all(ious[cell, other] < 0.5 for other in own):
                own.append(cell)
        kept += [(cell, label) for cell in own]
    return kept


def responsible(cells: int, objects: Tensor) -> Tensor:
    """Return for each cell ``(N, cells)`` the place of its object, −1 for none; the smallest where several claim it."""
    centres, strides, levels = geometry(objects.device)
    assert cells == len(centres), f"{cells} cells, expected {len(centres)}"
    boxes = objects[:, None, :, 1:5]
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    longest = (boxes[..., 2:] - boxes[..., :2]).amax(dim=3)
    near = (centres[None, :, None] - middle).abs().amax(dim=3) < _MIDDLE * strides[None, :, None]
    x, y = centres[None, :, None].unbind(dim=3)
    inside = (x > boxes[..., 0]) & (y > boxes[..., 1]) & (x < boxes[..., 2]) & (y < boxes[..., 3])
    limits = torch.tensor(SIZES, device=objects.device)
    fits = (longest > limits[levels][None, :, None]) & (longest <= limits[levels + 1][None, :, None])
    claims = near & inside & fits & (objects[:, None, :, 0] >= 0)
    smallest = torch.where(claims, longest, torch.inf).argmin(dim=2)
    return torch.where(claims.any(dim=2), smallest, -1)


def geometry(device: torch.device | None = None, canvas: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    """Return centres ``(cells, 2)`` in pixels, stride ``(cells,)`` and level ``(cells,)`` of all cells."""
    centres, strides, levels = [], [], []
    for level, stride in enumerate(STRIDES):
        line = (torch.arange(canvas // stride, device=device) + 0.5) * stride
        y, x = torch.meshgrid(line, line, indexing="ij")
        centres.append(torch.stack([x, y], dim=2).flatten(0, 1))
        strides.append(torch.full((x.numel(),), float(stride), device=device))
        levels.append(torch.full((x.numel(),), level, device=device))
    return torch.cat(centres), torch.cat(strides), torch.cat(levels)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of boxes ``(…, 4)`` with boxes ``(…, 4)``, broadcast over the leading axes."""
    shared = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    both = shared.clamp(min=0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1) for box in (first, second)]
    return both / (areas[0] + areas[1] - both).clamp(min=1e-6)


def overlap_table(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of each of ``(n, 4)`` with each of ``(m, 4)``, ``(n, m)``."""
    return overlap(first[:, None], second[None])


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, bnn.BatchNorm2d(outputs), nn.ReLU())


class Pyramid(nn.Module):
    """Features at each of `STRIDES`, the coarse ones added to the fine ones."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_unit(channels, width), _unit(width, 2 * width, 2), _unit(2 * width, 2 * width))
        self.fine = nn.Sequential(_unit(2 * width, 2 * width, 2), _unit(2 * width, 2 * width))
        self.coarse = nn.Sequential(_unit(2 * width, 4 * width, 2), _unit(4 * width, 4 * width))
        self.laterals = nn.ModuleList(nn.Conv2d(inputs, 2 * width, 1) for inputs in (2 * width, 4 * width))
        self.smooth = _unit(2 * width, 2 * width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images to features ``(N, 2·width, height / stride, width / stride)`` of the fine and the coarse level."""
        fine = self.fine(self.stem(images))
        coarse = self.laterals[1](self.coarse(fine))
        larger = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return self.smooth(self.laterals[0](fine) + larger), coarse


class SharedHead(nn.Module):
    """One convolution for all levels, as many normalizations as there are levels, one convolution for all again."""

    def __init__(self, width: int, outputs: int, levels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(bnn.BatchNorm2d(width) for _ in range(levels))
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, levels: Iterable[Tensor]) -> Tensor:
        """Map features ``(N, width, height, width)`` of each level to ``(N, cells, outputs)``."""
        outputs = [
            self.last(functional.relu(norm(self.conv(features)))).flatten(2)
            for norm, features in zip(self.norms, levels, strict=True)
        ]
        return torch.cat(outputs, dim=2).transpose(1, 2)


class Detector(nn.Module):
    """The pyramid, a head for the classes and one for the boxes."""

    def __init__(self, channels: int, width: int, canvas: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels, width)
        self.classes = SharedHead(2 * width, CLASSES, len(STRIDES))
        self.boxes = SharedHead(2 * width, 4, len(STRIDES))
        centres, strides, _ = geometry(canvas=canvas)
        self.register_buffer("centres", torch.cat([centres, centres], dim=1), persistent=False)
        self.register_buffer("strides", strides[:, None] * torch.tensor([-1.0, -1.0, 1.0, 1.0]), persistent=False)
        # A cell seldom finds something: it starts from a probability of 1 % (T. Lin et al., 2017).
        nn.init.constant_(self.classes.last.bias, -4.595)  # pyright: ignore[reportArgumentType]  (it has a bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, canvas, canvas)`` to ``(N, cells, 10 + 4)``, as `detection_loss` takes it."""
        return self.found(self.pyramid(images))

    def found(self, levels: Iterable[Tensor]) -> Tensor:
        """Return logits and boxes of the cells of all levels."""
        levels = tuple(levels)
        boxes = self.centres + self.strides * self.boxes(levels).exp()
        return torch.cat([self.classes(levels), boxes], dim=2)


def build(channels: int = 1, width: int = 16, canvas: int = 32) -> nn.Module:
    """Return the network.

    Args:
        channels: of the images.
        width: feature maps at full size.
        canvas: pixels of an image's side, a multiple of 8.
    """
    return Detector(channels, width, canvas)
