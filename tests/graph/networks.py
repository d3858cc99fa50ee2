"""Small networks with Batch Normalization: dimensions pairwise different, every statistic random, ε large.

ε and slopes are powers of two: ONNX stores attributes in float32, which these survive.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

EPS = 0.25


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut of 1x1, each followed by a normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, eps=EPS)
        self.conv2, self.bn2 = nn.Conv2d(6, 7, 3, padding=1), nn.BatchNorm2d(7, eps=EPS)
        self.shortcut = nn.Sequential(nn.Conv2d(3, 7, 1, bias=False), nn.BatchNorm2d(7, eps=EPS))
        self.fc = nn.Linear(7, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, 4)``."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.relu(y + self.shortcut(x)).mean((2, 3)))


def cnn() -> nn.Module:
    """Return a network of convolutions, transposed ones, pooling and dropout on images ``(N, 3, 8, 10)``."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6, eps=EPS),
        nn.LeakyReLU(0.125),
        nn.MaxPool2d(2),
        nn.Dropout(0.4),
        nn.ConvTranspose2d(6, 5, 2, stride=2),
        nn.BatchNorm2d(5, eps=EPS),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(5 * 4 * 5, 9),
        nn.BatchNorm1d(9, eps=EPS),
    )


def mlp() -> nn.Module:
    """Return the paper's kind of multilayer perceptron, with sigmoids, on vectors ``(N, 11)``."""
    layers: list[nn.Module] = []
    for width, out in ((11, 8), (8, 7), (7, 5)):
        layers += [nn.Linear(width, out), nn.BatchNorm1d(out, eps=EPS), nn.Sigmoid()]
    return nn.Sequential(*layers)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "cnn": (cnn, (3, 8, 10)),
    "mlp": (mlp, (11,)),
    "residual": (Residual, (3, 6, 8)),
}
"""Name → how to build the network, and the shape of one sample."""


def randomized(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return ``network`` in inference mode, with random weights and statistics as a training might leave them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / max(1, tensor[0].numel()) ** 0.5)
    return network.eval()
