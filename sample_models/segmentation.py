"""A network that tells each pixel's class: atrous convolutions (L. Chen et al., 2017), ConvTranspose to full size."""

import torch
from torch import Tensor, nn

from bnfold import nn as bnn

RECIPE = {
    "data": "scattered-classes",
    "epochs": 12,
    "batch_size": 24,
    "optimizer": "adamw",
    "learning_rate": 0.005,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "metrics": ["mean-iou", "accuracy"],
}


def _unit(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(conv, bnn.BatchNorm2d(outputs), nn.ReLU())


def _larger(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    return nn.Sequential(conv, bnn.BatchNorm2d(outputs), nn.ReLU())


class Pyramid(nn.Module):
    """The same features through convolutions of several dilations side by side, joined by a 1×1 convolution."""

    def __init__(self, width: int, dilations: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_unit(width, width, dilation=dilation) for dilation in dilations)
        joined = width * len(dilations)
        self.join = nn.Sequential(nn.Conv2d(joined, width, 1, bias=False), bnn.BatchNorm2d(width), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, width, height, width)`` to the same shape."""
        return self.join(torch.cat([branch(features) for branch in self.branches], dim=1))


class Segmentation(nn.Module):
    """Down to a quarter of the size, an atrous pyramid, and up again, joined with what was found on the way down."""

    def __init__(self, classes: int, channels: int, width: int, dilations: list[int]) -> None:
        super().__init__()
        wide = 2 * width
        self.at_full = _unit(channels, width)
        self.at_half = nn.Sequential(_unit(width, wide, stride=2), _unit(wide, wide))
        self.at_quarter = nn.Sequential(_unit(wide, wide, stride=2), Pyramid(wide, dilations))
        self.to_half = _larger(wide, wide)
        self.to_full = _larger(2 * wide, width)
        self.head = nn.Sequential(_unit(2 * width, wide), nn.Conv2d(wide, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, height, width)``, multiples of 4, to scores ``(N, classes, height, width)``."""
        full = self.at_full(images)
        half = self.at_half(full)
        joined = torch.cat([half, self.to_half(self.at_quarter(half))], dim=1)
        return self.head(torch.cat([full, self.to_full(joined)], dim=1))


def build(classes: int = 11, channels: int = 1, width: int = 12, dilations: tuple[int, ...] = (1, 2, 3)) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a pixel, the ground included.
        channels: of the images.
        width: feature maps at full size; below it twice as many.
        dilations: of the pyramid's convolutions.
    """
    return Segmentation(classes, channels, width, list(dilations))
