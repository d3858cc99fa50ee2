"""Tests of ``bnfold.population.per_sample``: what is said to treat samples apart does, and what mixes them is found."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import bnfold.nn
from bnfold.population.layers import batch_norm_layers
from bnfold.population.per_sample import bytes_per_sample
from bnfold.population.program import capture
from tests.population.networks import randomize

Forward = Callable[[Any, Tensor], Tensor]


class Before(nn.Module):
    """Some step ahead of a BN layer, with a few parts that it may use."""

    def __init__(self, step: Forward, channels: int) -> None:
        super().__init__()
        self.step = step
        self.conv = nn.Conv2d(4, 3, 3, padding=1)
        self.pointwise = nn.Conv1d(4, 3, 1)
        self.untracked = nn.BatchNorm2d(4, track_running_stats=False)
        self.inner = bnfold.nn.BatchNorm2d(4)
        self.fixed = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.loose = nn.Parameter(torch.ones(2, 4, 1, 1))
        self.flat = nn.Parameter(torch.ones(5))
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, values: Tensor) -> Tensor:
        """Normalize what the step gives, as (rows, channels, positions)."""
        return self.norm(self.step(self, values))


def rows(values: Tensor) -> Tensor:
    """Return (N, C, …) as (N, C, positions)."""
    return values.flatten(2)


APART: dict[str, tuple[Forward, int]] = {
    "convolution": (lambda m, x: rows(m.conv(x)), 3),
    "normalized": (lambda m, x: rows(m.inner(x)), 4),
    "view by size": (lambda _, x: x.view(x.size(0), 4, -1), 4),
    "view by shape": (lambda _, x: x.reshape(x.shape[0], x.shape[1], -1), 4),
    "view, rows found": (lambda _, x: x.view(-1, 2, 30), 2),
    "groups of channels": (lambda _, x: x.view(x.size(0) * 2, 2, -1), 2),
    "shuffle": (lambda _, x: rows(x.view(x.size(0), 2, 2, 5, 6).transpose(1, 2).flatten(1, 2)), 4),
    "permuted": (lambda _, x: rows(x.permute(0, 2, 3, 1)), 5),
    "gate": (lambda _, x: rows(x * x.mean((2, 3), keepdim=True).sigmoid()), 4),
    "mean from the right": (lambda _, x: x.mean((-2, -1)), 4),
    "joined": (lambda _, x: rows(torch.cat([x, x.relu()], 1)), 8),
    "in parts": (lambda _, x: rows(x.chunk(2, 1)[1] + 1), 2),
    "sliced": (lambda _, x: rows(x[:, 1:3]), 2),
    "parameter": (lambda m, x: rows(x * m.fixed - 2), 4),
    "resized": (lambda _, x: rows(functional.interpolate(x, size=x.shape[2:], mode="nearest")), 4),
    "attention": (lambda _, x: torch.softmax(rows(x) @ rows(x).transpose(1, 2), -1), 4),
    "sequence": (lambda m, x: m.pointwise(rows(x)), 3),
    "scaled by an extent": (lambda _, x: rows(x * x.size(3)), 4),
}

MIXED: dict[str, tuple[Forward, int]] = {
    "centred over the batch": (lambda _, x: rows(x - x.mean(0, keepdim=True)), 4),
    "softmax over the batch": (lambda _, x: rows(torch.softmax(x, 0)), 4),
    "scaled by the batch": (lambda _, x: rows(x / x.size(0)), 4),
    "scaled by rows": (lambda _, x: rows(x * x.shape[0]), 4),
    "batch turned into channels": (lambda _, x: x.transpose(0, 1).reshape(1, 4, -1), 4),
    "untracked": (lambda m, x: rows(m.untracked(x)), 4),
    "cumulative": (lambda _, x: rows(x.cumsum(0)), 4),
    "rolled": (lambda _, x: rows(x.roll(1, 0)), 4),
    "unbatched": (lambda m, x: m.pointwise(x.permute(1, 0, 2, 3).flatten(1)).view(1, 3, -1), 3),
}

ALIKE: dict[str, tuple[Forward, int]] = {
    "parameter for every row": (lambda m, x: rows(x[:2] * m.loose), 4),
    "one sample for all": (lambda _, x: rows(x[:1] + x), 4),
    "ranks that differ": (lambda _, x: x.mean((2, 3)) + x.mean((1, 2, 3)), 4),
    "drawn": (lambda _, x: rows(functional.dropout(x)), 4),
}
"""What need not show in numbers, or cannot: refused all the same."""


def model(case: tuple[Forward, int]) -> nn.Module:
    """Return the network of a case in float64, in inference mode."""
    made = Before(*case)
    randomize(made, seed=2)
    return made.double().eval()


def inputs(samples: int, seed: int = 1) -> Tensor:
    """Return (samples, 4, 5, 6)."""
    return torch.randn(samples, 4, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def judged(network: nn.Module) -> int | None:
    """Return the verdict on a network."""
    program = capture(network, batch_norm_layers(network), inputs(3))
    with torch.no_grad():
        return bytes_per_sample(program, program.begin(inputs(3)))


def commutes(network: nn.Module) -> bool:
    """Return whether the network gives two batches together what it gives each."""
    one, other = inputs(3), inputs(2, seed=7)
    with torch.no_grad():
        apart, together = [network(one), network(other)], network(torch.cat([one, other]))
    if any(part.shape[1:] != together.shape[1:] for part in apart):
        return False
    return torch.allclose(torch.cat(apart), together, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", APART)
def test_steps_that_treat_samples_apart(name: str) -> None:
    """They are known, and joining batches does not change what they compute."""
    assert commutes(model(APART[name]))
    assert judged(model(APART[name])) is not None


@pytest.mark.parametrize("name", MIXED)
def test_steps_that_mix_samples(name: str) -> None:
    """They are refused, and rightly: joining batches changes what they compute."""
    assert not commutes(model(MIXED[name]))
    assert judged(model(MIXED[name])) is None


@pytest.mark.parametrize("name", ALIKE)
def test_steps_that_cannot_be_known(name: str) -> None:
    """They are refused."""
    assert judged(model(ALIKE[name])) is None


def test_a_module_of_the_user_s_is_not_known() -> None:
    """Hooks, a forward of its own, a class of its own: what they do is nobody's to say."""
    hooked, replaced, derived = (model(APART["convolution"]) for _ in range(3))
    hooked.get_submodule("conv").register_forward_hook(lambda *_: None)
    conv = replaced.get_submodule("conv")
    conv.forward = conv.forward
    derived.get_submodule("conv").__class__ = type("Own", (nn.Conv2d,), {"__module__": "torch.nn.own"})
    for network in (hooked, replaced, derived):
        assert judged(network) is None


def test_the_largest_value_of_a_sample_is_told() -> None:
    """Its bytes, whichever step makes it: 8 channels of 5·6 positions in float64."""
    assert judged(model(APART["joined"])) == 8 * 5 * 6 * 8
