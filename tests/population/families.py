"""One small network of each family: plain, residual, concatenating, with a normalized head; inputs (N, 3, 6, 5)."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from tests.population.networks import Columns, columns, randomize

SAMPLES = 307
"""Not a multiple of any batch size that tests use but 1."""


def _normalized_conv(before: int, after: int, size: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, size, padding=size // 2, bias=False), nn.BatchNorm2d(after, eps=0.3))


class Residual(nn.Module):
    """A block with a shortcut through a convolution of its own, activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _normalized_conv(3, 4)
        self.second = _normalized_conv(4, 5)
        self.shortcut = _normalized_conv(3, 5, 1)
        self.relu = nn.ReLU(inplace=True)
        self.last = _normalized_conv(5, 4)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, 4, 6, 5)."""
        hidden = self.second(self.relu(self.first(values)))
        hidden += self.shortcut(values)
        return self.last(self.relu(hidden))


class Concatenating(nn.Module):
    """Each layer reads all values before it, as in DenseNet: BN, ReLU, convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(3 + 2 * k, eps=0.3) for k in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(3 + 2 * k, 2, 3, padding=1) for k in range(3))

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, 9, 6, 5)."""
        for norm, conv in zip(self.norms, self.convs, strict=True):
            values = torch.cat([values, conv(norm(values).relu())], 1)
        return values


class Headed(nn.Module):
    """A convolution, all of whose values are seen by a normalized linear layer, by way of ``view``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _normalized_conv(3, 4)
        self.head = nn.Linear(4 * 6 * 5, 7)
        self.norm = nn.BatchNorm1d(7, eps=0.3)
        self.out = nn.BatchNorm1d(7, eps=0.3)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, 7)."""
        hidden = self.stem(values).relu()
        return self.out(self.norm(self.head(hidden.view(hidden.size(0), -1))).sigmoid())


def plain() -> nn.Module:
    """Return three convolutions, one after the other."""
    return nn.Sequential(
        _normalized_conv(3, 4), nn.ReLU(), _normalized_conv(4, 6), nn.ReLU(True), _normalized_conv(6, 5)
    )


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "plain": plain,
    "residual": Residual,
    "concatenating": Concatenating,
    "headed": Headed,
}


def family(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a network of a family with random parameters and statistics."""
    model = FAMILIES[name]()
    randomize(model, seed=5)
    return model.to(dtype)


def pictures(mean_over_std: float = 0.5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return inputs (`SAMPLES`, 3, 6, 5) of different contrast, so that batches differ."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(SAMPLES, 3, 6, 5, generator=generator, dtype=torch.float64)
    contrast = torch.linspace(0.2, 2, SAMPLES, dtype=torch.float64).view(-1, 1, 1, 1)
    return (values * contrast + mean_over_std).to(dtype)


def full_batch(model: nn.Module, inputs: Tensor) -> dict[str, tuple[Columns, Columns]]:
    """Return mean and unbiased variance of every BN layer's input, in float64 over one batch of everything.

    Each layer normalizes by just these, as inference will once they are stored.
    """
    found: dict[str, tuple[Columns, Columns]] = {}
    model.double().eval()
    with _written_out(model, found), torch.no_grad():
        model(inputs.double())
    return found


@contextmanager
def _written_out(model: nn.Module, found: dict[str, tuple[Columns, Columns]]) -> Generator[None]:
    def hook(name: str) -> Callable[..., None]:
        def before(layer: nn.Module, args: tuple[Tensor]) -> None:
            values = columns(args[0])
            found[name] = values.mean(axis=0), values.var(axis=0, ddof=1)
            layer.running_mean, layer.running_var = map(torch.from_numpy, found[name])

        return before

    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    yield
    for handle in handles:
        handle.remove()


def furthest(found: dict[str, tuple[Columns, Columns]], expected: dict[str, tuple[Columns, Columns]]) -> float:
    """Return the largest difference of a mean, in standard deviations, or of a variance, relative."""
    assert found.keys() == expected.keys()
    shifts = [np.abs(found[name][0] - mean) / np.sqrt(variance) for name, (mean, variance) in expected.items()]
    changes = [np.abs(found[name][1] / variance - 1) for name, (_, variance) in expected.items()]
    return float(max(figures.max() for figures in (*shifts, *changes)))
