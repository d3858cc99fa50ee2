"""A small residual network, post-activation: y = ReLU(F(x) + shortcut(x)), BN on both paths."""

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


class Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut: the identity, or a 1×1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            bnn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            bnn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(bnn.BatchNorm2d(outputs))
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, inputs, height, width)`` to ``(N, outputs, height / stride, width / stride)``, rounded up."""
        return self.activation(self.path(features) + self.shortcut(features))


class ResidualNetwork(nn.Module):
    """A stem, stages of residual blocks at half the size and twice the width of the one before, mean, linear head."""

    def __init__(self, classes: int, channels: int, width: int, stages: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), bnn.BatchNorm2d(width), nn.ReLU()
        )
        self.stages = nn.Sequential()
        wide = width
        for stage in range(stages):
            for block in range(blocks):
                inputs, wide = wide, width * 2**stage
                self.stages.append(Residual(inputs, wide, stride=2 if stage > 0 and block == 0 else 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, height, width)`` to scores ``(N, classes)``."""
        return self.head(self.pool(self.stages(self.stem(images))).flatten(1))


def build(classes: int = 10, channels: int = 1, width: int = 16, stages: int = 3, blocks: int = 1) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        channels: of the images.
        width: feature maps of the first stage.
        stages: each after the first halves the image and doubles the width.
        blocks: residual blocks a stage.
    """
    return ResidualNetwork(classes, channels, width, stages, blocks)
