"""A small PointNet (C. Qi et al., 2017): the same layers for each point, the maximum over points, layers for it."""

from torch import Tensor, nn

from bnfold import nn as bnn

RECIPE = {
    "data": "point-digits",
    "epochs": 30,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "schedule": "cosine",
    "weight_decay": 0.01,
}


class PointNetwork(nn.Module):
    """Shared layers (convolutions of width 1), the maximum, fully connected layers; BN and ReLU behind each."""

    def __init__(self, classes: int, coordinates: int, shared: list[int], hidden: list[int]) -> None:
        super().__init__()
        self.points = nn.Sequential()
        for inputs, outputs in zip([coordinates, *shared], shared, strict=False):
            self.points.extend([nn.Conv1d(inputs, outputs, 1, bias=False), bnn.BatchNorm1d(outputs), nn.ReLU()])
        self.set = nn.Sequential()
        for inputs, outputs in zip([shared[-1], *hidden], hidden, strict=False):
            self.set.extend([nn.Linear(inputs, outputs, bias=False), bnn.BatchNorm1d(outputs), nn.ReLU()])
        self.head = nn.Linear([shared[-1], *hidden][-1], classes)

    def forward(self, points: Tensor) -> Tensor:
        """Map points ``(N, coordinates, points)`` to scores ``(N, classes)``, whatever the order of the points."""
        return self.head(self.set(self.points(points).amax(dim=2)))


def build(
    classes: int = 10,
    coordinates: int = 2,
    shared: tuple[int, ...] = (32, 64, 128),
    hidden: tuple[int, ...] = (64,),
) -> nn.Module:
    """Return the network.

    Args:
        classes: scores a sample.
        coordinates: of a point.
        shared: widths of the layers that each point goes through by itself.
        hidden: widths of the layers that the set goes through.
    """
    return PointNetwork(classes, coordinates, list(shared), list(hidden))
