"""A small DenseNet-BC (G. Huang et al., 2017): each layer reads all that came before it in its block, BN first."""

import torch
from torch import Tensor, nn

from bnfold import nn as bnn

RECIPE = {
    "data": "digits",
    "epochs": 8,
    "batch_size": 64,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "momentum": 0.9,
    "weight_decay": 1e-4,
}


def _unit(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """BN → ReLU → Conv, the order of pre-activation."""
    return [bnn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)]


class Dense(nn.Module):
    """A bottleneck of 1×1 and a 3×3 convolution; what they find is put behind the input's channels."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        bottleneck = 4 * growth
        self.path = nn.Sequential(*_unit(inputs, bottleneck, 1), *_unit(bottleneck, growth, 3))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, inputs, height, width)`` to ``(N, inputs + growth, height, width)``."""
        return torch.cat([features, self.path(features)], dim=1)


class DenseNet(nn.Module):
    """A stem, dense blocks, between them transitions to half the channels and half the size, and a linear head."""

    def __init__(self, classes: int, channels: int, growth: int, layers: list[int]) -> None:
        super().__init__()
        wide = 2 * growth
        self.stem = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for block, depth in enumerate(layers):
            if block > 0:
                self.blocks.extend([*_unit(wide, wide // 2, 1), nn.AvgPool2d(2)])
                wide //= 2
            for _ in range(depth):
                self.blocks.append(Dense(wide, growth))
                wide += growth
        self.last = nn.Sequential(bnn.BatchNorm2d(wide), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, height, width)`` to scores ``(N, classes)``."""
        return self.head(self.last(self.blocks(self.stem(images))).flatten(1))


def build(classes: int = 10, channels: int = 1, growth: int = 8, layers: tuple[int, ...] = (3, 3, 3)) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        channels: of the images.
        growth: feature maps that each layer adds.
        layers: how many in each block.
    """
    return DenseNet(classes, channels, growth, list(layers))
