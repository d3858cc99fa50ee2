"""A small RepVGG (X. Ding et al., 2021): 3×3, 1×1 and identity branches, BN on each, that end as one convolution."""

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


class Branches(nn.Module):
    """ReLU(BN(Conv₃ₓ₃(x)) + BN(Conv₁ₓ₁(x)) + BN(x)), the last where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.wide = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), bnn.BatchNorm2d(outputs)
        )
        self.narrow = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), bnn.BatchNorm2d(outputs))
        self.same = bnn.BatchNorm2d(outputs) if stride == 1 and inputs == outputs else None
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, inputs, height, width)`` to ``(N, outputs, height / stride, width / stride)``, rounded up."""
        total = self.wide(features) + self.narrow(features)
        return self.activation(total if self.same is None else total + self.same(features))


class RepVGG(nn.Module):
    """Stages of blocks, the first block of each halving the image, mean, linear head."""

    def __init__(self, classes: int, channels: int, width: int, blocks: list[int]) -> None:
        super().__init__()
        self.stages = nn.Sequential(Branches(channels, width, 1))
        wide = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                inputs, wide = wide, width * 2**stage
                self.stages.append(Branches(inputs, wide, stride=2 if block == 0 else 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, height, width)`` to scores ``(N, classes)``."""
        return self.head(self.pool(self.stages(images)).flatten(1))


def build(classes: int = 10, channels: int = 1, width: int = 16, blocks: tuple[int, ...] = (2, 2)) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        channels: of the images.
        width: feature maps of the first stage; each stage doubles them.
        blocks: how many in each stage.
    """
    return RepVGG(classes, channels, width, list(blocks))
