"""A small MobileNetV2 (M. Sandler et al., 2018): inverted residuals, depthwise convolutions, linear bottlenecks."""

from torch import Tensor, nn

from bnfold import nn as bnn

RECIPE = {
    "data": "digits",
    "epochs": 12,
    "batch_size": 64,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "momentum": 0.9,
    "weight_decay": 4e-5,
}


def _unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Conv → BN; what is between them and the next unit is up to the block."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, bnn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Expand by 1×1, filter each channel by 3×3, project by 1×1 without an activation; added where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [*_unit(inputs, wide), nn.ReLU6()] if expansion != 1 else []
        self.path = nn.Sequential(
            *expand, *_unit(wide, wide, kernel=3, stride=stride, groups=wide), nn.ReLU6(), *_unit(wide, outputs)
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, inputs, height, width)`` to ``(N, outputs, height / stride, width / stride)``, rounded up."""
        return features + self.path(features) if self.adds else self.path(features)


class MobileNetV2(nn.Module):
    """A stem, stages of inverted residuals, a 1×1 convolution, mean, linear head."""

    def __init__(self, classes: int, channels: int, width: int, expansion: int, blocks: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_unit(channels, width, kernel=3), nn.ReLU6())
        self.features.append(InvertedResidual(width, width, 1, 1))
        wide = width
        for stage in (1, 2):
            for block in range(blocks):
                inputs, wide = wide, width * (1 + stage)
                self.features.append(InvertedResidual(inputs, wide, 2 if block == 0 else 1, expansion))
        self.features.extend([*_unit(wide, 4 * wide), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)])
        self.head = nn.Linear(4 * wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, height, width)`` to scores ``(N, classes)``."""
        return self.head(self.features(images).flatten(1))


def build(classes: int = 10, channels: int = 1, width: int = 12, expansion: int = 4, blocks: int = 2) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        channels: of the images.
        width: feature maps of the stem; the two stages have twice and three times as many.
        expansion: factor by which a block widens its input.
        blocks: inverted residuals a stage, the first of which halves the image.
    """
    return MobileNetV2(classes, channels, width, expansion, blocks)
