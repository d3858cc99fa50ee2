"""A 1-D network for sensors and sound, Conv → ReLU → BN → MaxPool: BN behind the activation, where many put it."""

from torch import Tensor, nn

from bnfold import nn as bnn

RECIPE = {
    "data": "waveforms",
    "epochs": 10,
    "batch_size": 60,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "momentum": 0.9,
    "weight_decay": 1e-4,
}


class Sensor(nn.Module):
    """Blocks of Conv → ReLU → BN → MaxPool, without padding, then the mean over time and a linear head."""

    def __init__(self, classes: int, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        inputs = channels
        for block in range(blocks):
            outputs = width * (block + 1)
            # Here no bias could be dropped: the activation stands between it and BN.
            self.features.extend([nn.Conv1d(inputs, outputs, 7), nn.ReLU(), bnn.BatchNorm1d(outputs), nn.MaxPool1d(2)])
            inputs = outputs
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(inputs, classes)

    def forward(self, signal: Tensor) -> Tensor:
        """Map a signal ``(N, channels, length)`` to scores ``(N, classes)``."""
        return self.head(self.pool(self.features(signal)).flatten(1))


def build(classes: int = 6, channels: int = 1, width: int = 16, blocks: int = 4) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        channels: of the signal.
        width: feature maps of the first block; the k-th has k times as many.
        blocks: each halves the length, after its convolution took 6 off.
    """
    return Sensor(classes, channels, width, blocks)
