"""Small networks with BN, their extents pairwise different and ε large, and what they compute, written out."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnfold.population.measure import measure
from bnfold.population.moments import Moments

EPS = 0.3


class Classifier(nn.Module):
    """Convolutions of 5 and 7 feature maps and a head of 11 units, each followed by its BN: inputs (N, 3, 6, 9)."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(5, eps=EPS)
        self.drop = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(5, 7, 2)
        self.bn2 = nn.BatchNorm2d(7, eps=EPS, momentum=None)
        self.head = nn.Linear(7, 11)
        self.bn3 = nn.BatchNorm1d(11, eps=EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Return the head's normalized output (N, 11)."""
        hidden = self.drop(self.bn1(self.conv1(images)).relu())
        hidden = self.bn2(self.conv2(hidden)).relu().mean((2, 3))
        return self.bn3(self.head(hidden))


def classifier(seed: int = 0, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> Classifier:
    """Return a classifier whose weights, γ, β and running statistics are random, in training mode."""
    model = Classifier(dropout)
    randomize(model, seed)
    return model.to(dtype)


def randomize(model: nn.Module, seed: int) -> None:
    """Draw every parameter and running statistic; γ of both signs, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            drawn = torch.randn(tensor.shape, generator=generator)
            tensor.data.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)


def images(count: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return inputs (count, 3, 6, 9) of mean 0.7."""
    return (torch.randn(count, 3, 6, 9, generator=torch.Generator().manual_seed(seed)) + 0.7).to(dtype)


Columns = NDArray[np.float64]
"""Values of every channel, one a column: (values, C)."""


def columns(values: Tensor) -> Columns:
    """Return (N, C, *spatial) as one column a channel."""
    return values.detach().double().movedim(1, -1).reshape(-1, values.shape[1]).numpy()


def moments_of(values: Tensor) -> Moments:
    """Return the moments of (N, C, *spatial), as they are measured."""
    return measure(values).results()[0]


def normalized_by_minibatch(values: Tensor, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    """Return Algorithm 1 of the paper, written out."""
    axes = [axis for axis in range(values.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(values.ndim)]
    mean = values.mean(axes, keepdim=True)
    variance = (values - mean).square().mean(axes, keepdim=True)
    return layer.weight.view(shape) * (values - mean) / (variance + layer.eps).sqrt() + layer.bias.view(shape)


def inputs_of_layers(model: Classifier, batches: Iterable[Tensor]) -> dict[str, list[Columns]]:
    """Return what each BN layer is given, a minibatch an entry, with the layers below normalized by their minibatch."""
    seen: dict[str, list[Columns]] = {"bn1": [], "bn2": [], "bn3": []}
    with torch.no_grad():
        for batch in batches:
            first = nn.functional.conv2d(batch, model.conv1.weight, model.conv1.bias, padding=1)
            second = nn.functional.conv2d(
                normalized_by_minibatch(first, model.bn1).relu(), model.conv2.weight, model.conv2.bias
            )
            pooled = normalized_by_minibatch(second, model.bn2).relu().mean((2, 3))
            third = nn.functional.linear(pooled, model.head.weight, model.head.bias)
            for name, values in zip(seen, (first, second, third), strict=True):
                seen[name].append(columns(values))
    return seen


def statistics_of(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the running means and variances by name."""
    return {name: buffer.clone() for name, buffer in model.named_buffers() if name.endswith(("_mean", "_var"))}


class Reused(nn.Module):
    """One linear layer and its BN, called as often as there are inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4, eps=EPS)

    def forward(self, *values: Tensor, **named: Tensor) -> list[Tensor]:
        """Return every input normalized, each by itself."""
        return [self.norm(value) for value in (*values, *named.values())]
