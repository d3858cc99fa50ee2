"""A detector that also cuts its objects out (D. Bolya et al., "YOLACT", 2019): mixtures of prototype masks.

The built-in detector finds classes and boxes. Beside it, transposed convolutions draw a few prototypes for the whole
image, and each cell tells in which mixture they are its object's mask.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnfold import nn as bnn
from bnfold.training import resolve_model

RECIPE = {
    "data": "scattered-masks",
    "epochs": 10,
    "batch_size": 24,
    "optimizer": "adamw",
    "learning_rate": 0.005,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "loss": ":mask_loss",
    "metrics": [":mask_average_precision"],
}

_detector = resolve_model("detector", {}, Path(__file__).parent)
_detection_loss = _detector.member("detection_loss")
_responsible = _detector.member("responsible")
_mean_over_images = _detector.member("mean_over_images")
_kept_cells = _detector.member("kept_cells")
_mean_area = _detector.member("mean_area")
_SharedHead = _detector.member("SharedHead")
_FOUND = 14
"""Of a cell's numbers, those that the detector makes: ten classes and a box."""
_BOX = slice(10, 14)


def mask_loss(outputs: tuple[Tensor, Tensor], objects: Tensor) -> Tensor:
    """Return the detector's loss, and the cross-entropy of the responsible cells' masks within their objects' boxes.

    A mean over the images, as the detector's.

    Args:
        outputs: ``(N, cells, 14 + prototypes)`` and ``(N, prototypes, height, width)``.
        objects: ``(N, objects, 5 + height·width)``, class, box and mask, class −1 for none.
    """
    found, prototypes = outputs
    owner = _responsible(found.shape[1], objects)
    assert isinstance(owner, Tensor)
    sample, cell = torch.nonzero(owner >= 0, as_tuple=True)
    truth = objects[sample, owner[sample, cell]]
    drawn = _mixed(found[sample, cell, _FOUND:], prototypes[sample])
    wanted = truth[:, 5:].unflatten(1, prototypes.shape[2:])
    frame = _frame(truth[:, 1:5], prototypes.shape[2:])
    surprise = functional.binary_cross_entropy_with_logits(drawn, wanted, reduction="none")
    masks = (surprise * frame).sum(dim=(1, 2)) / frame.sum(dim=(1, 2)).clamp(min=1)
    detected, drawn_loss = _detection_loss(found, objects), _mean_over_images(masks, sample, owner)
    assert isinstance(detected, Tensor)
    assert isinstance(drawn_loss, Tensor)
    return detected + drawn_loss


def mask_average_precision(outputs: tuple[Tensor, Tensor], objects: Tensor) -> float:
    """Return the area under precision over recall, masks met from an IoU of 0.5 on, as a mean over the classes."""
    ranked: list[tuple[int, int, float, Tensor]] = []
    for sample, (cells, prototypes) in enumerate(zip(*outputs, strict=True)):
        scores = cells[:, :10].sigmoid()
        kept = _kept_cells(scores, cells[:, _BOX])
        assert isinstance(kept, list)
        for cell, label in kept:
            ious = _mask_overlap(_mask(cells[cell], prototypes), objects[sample, :, 5:])
            ranked.append((sample, label, float(scores[cell, label]), ious))
    area = _mean_area(ranked, objects)
    assert isinstance(area, float)
    return area


def _mask(cell: Tensor, prototypes: Tensor) -> Tensor:
    """Return the mask ``(height·width,)`` of a cell's object, 0 or 1."""
    drawn = _mixed(cell[None, _FOUND:], prototypes[None])
    return ((drawn > 0) * _frame(cell[None, _BOX], prototypes.shape[1:]))[0].flatten()


def _mixed(weights: Tensor, prototypes: Tensor) -> Tensor:
    """Return logits ``(n, height, width)`` from weights ``(n, prototypes)`` of ``(n, prototypes, height, width)``."""
    return (weights[:, :, None, None] * prototypes).sum(dim=1)


def _frame(boxes: Tensor, size: torch.Size) -> Tensor:
    """Return 1 within each box ``(n, 4)`` and 0 outside, ``(n, height, width)``."""
    y, x = (torch.arange(extent, device=boxes.device) + 0.5 for extent in size)
    left, top, right, bottom = boxes[:, :, None, None].unbind(dim=1)
    row, column = y[None, :, None], x[None, None, :]
    return ((row > top) & (row < bottom) & (column > left) & (column < right)).to(boxes.dtype)


def _mask_overlap(mask: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of a mask ``(pixels,)`` with each of ``(n, pixels)``."""
    both = (mask * others).sum(dim=1)
    return both / (mask.sum() + others.sum(dim=1) - both).clamp(min=1)


class InstanceMasks(nn.Module):
    """The detector, a head for the mixtures, and transposed convolutions that draw the prototypes."""

    def __init__(self, channels: int, width: int, canvas: int, prototypes: int) -> None:
        super().__init__()
        args = {"channels": channels, "width": width, "canvas": canvas}
        self.detector = resolve_model("detector", args, Path(__file__).parent).build()
        head = _SharedHead(2 * width, prototypes, 2)
        assert isinstance(head, nn.Module)
        self.mixtures = head
        self.drawing = nn.Sequential(
            *_larger(2 * width, 2 * width), *_larger(2 * width, width), nn.Conv2d(width, prototypes, 1)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images ``(N, channels, canvas, canvas)`` to what `mask_loss` takes."""
        levels = self.detector.get_submodule("pyramid")(images)
        found = self.detector.found(levels)  # pyright: ignore[reportCallIssue]  (loaded by name, its class is not known)
        return torch.cat([found, self.mixtures(levels)], dim=2), self.drawing(levels[0])


def _larger(inputs: int, outputs: int) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    return [conv, bnn.BatchNorm2d(outputs), nn.ReLU()]


def build(channels: int = 1, width: int = 16, canvas: int = 32, prototypes: int = 16) -> nn.Module:
    """Return the network.

    Args:
        channels: of the images.
        width: feature maps at full size.
        canvas: pixels of an image's side, a multiple of 8.
        prototypes: masks that are mixed.
    """
    return InstanceMasks(channels, width, canvas, prototypes)
