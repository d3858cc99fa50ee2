"""A small convolutional network for the 8×8 digits; learns them in seconds on a laptop."""

from torch import Tensor, nn

from bnfold import nn as bnn

RECIPE = {
    "data": "digits",
    "epochs": 12,
    "batch_size": 64,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "momentum": 0.9,
    "weight_decay": 1e-4,
}


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    """Conv → BN → ReLU; β of the normalization takes the bias's role (section 3.2 of the paper)."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), bnn.BatchNorm2d(outputs), nn.ReLU()]


class DigitsCNN(nn.Module):
    """Three blocks of Conv → BN → ReLU, halved twice by pooling, and a linear head that BN follows."""

    def __init__(self, classes: int, channels: int, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.features = nn.Sequential(
            *_block(channels, width), nn.MaxPool2d(2), *_block(width, wide), nn.MaxPool2d(2), *_block(wide, wide)
        )
        self.head = nn.Sequential(nn.Linear(wide * 2 * 2, classes, bias=False), bnn.BatchNorm1d(classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, channels, 8, 8)`` to scores ``(N, classes)``."""
        return self.head(self.features(images).flatten(1))


def build(classes: int = 10, channels: int = 1, width: int = 16) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        channels: of the images.
        width: feature maps of the first block; the others have twice as many.
    """
    return DigitsCNN(classes, channels, width)
