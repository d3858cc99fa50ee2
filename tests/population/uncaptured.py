"""Networks that cannot be walked node by node."""

import torch
from torch import Tensor, nn

from tests.population.networks import EPS


class Branching(nn.Module):
    """Sends each batch one of two ways, by what is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.BatchNorm2d(3, eps=EPS)
        self.bright = nn.BatchNorm2d(3, eps=EPS)
        self.last = nn.BatchNorm2d(3, eps=EPS)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, 3, H, W)."""
        hidden = self.stem(values).sigmoid()
        if values.mean() > 0.893:
            hidden = self.bright(hidden).sigmoid()
        return self.last(hidden)


class Towers(nn.Module):
    """Two inputs through shared layers, whose outputs meet in a third."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=EPS), nn.Tanh(), nn.Conv2d(4, 3, 1))
        self.norm = nn.BatchNorm2d(3, eps=EPS)
        self.joint = nn.BatchNorm2d(6, eps=EPS)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return (N, 6, H, W)."""
        return self.joint(torch.cat([self.norm(self.shared(x)).tanh() for x in (left, right)], 1))


class Recurrent(nn.Module):
    """One normalized layer, applied three times to its own output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3, eps=EPS)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, 3, H, W)."""
        for _ in range(3):
            values = self.norm(self.conv(values)).tanh() + 0.5 * values
        return values
