"""Tests of ``bnfold.population.preserve``: a model comes back exactly as it was lent."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnfold.population.preserve import preserved


class Stateful(nn.Module):
    """A module with every kind of state that a forward pass may touch."""

    count: Tensor
    cache: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("count", torch.zeros(3))
        self.register_buffer("cache", None)


class Refuses(nn.Module):
    """A module whose own train() must not be called."""

    def train(self, mode: bool = True) -> "Refuses":
        """Fail."""
        raise AssertionError(f"train({mode}) was called")


def disturb(model: nn.Sequential) -> None:
    """Change what may be changed: values, tensors, registrations, flags, generators, gradient mode."""
    first = model[0]
    assert isinstance(first, Stateful)
    first.count += 1
    first.count = torch.ones(5)
    first.cache = torch.ones(1)
    first.register_buffer("new", torch.ones(1))
    first.weight = nn.Parameter(torch.zeros(4))
    first.another = nn.Parameter(torch.zeros(4))
    model.train()
    torch.rand(1)
    np.random.rand()  # noqa: NPY002  # the generator under test
    random.seed(4)
    torch.set_grad_enabled(mode=True)


def fail_with(error: BaseException) -> Callable[[nn.Sequential], None]:
    """Return a disturbance that ends in an exception."""

    def disturb_and_fail(model: nn.Sequential) -> None:
        disturb(model)
        raise error

    return disturb_and_fail


@pytest.mark.parametrize("error", [None, RuntimeError("planted"), KeyboardInterrupt("planted")])
def test_everything_comes_back(error: BaseException | None) -> None:
    """Flags, tensor objects, buffer values, registrations, generators and gradient mode, however the block ends."""
    model = nn.Sequential(Stateful(), nn.Dropout())
    model[1].eval()
    first = model[0]
    assert isinstance(first, Stateful)
    weight, count = first.weight, first.count
    torch.manual_seed(3)
    python = random.getstate()
    np.random.seed(3)  # noqa: NPY002  # the generator under test
    if error is None:
        with preserved(model):
            disturb(model)
    else:
        with pytest.raises(type(error), match="planted"), preserved(model):
            fail_with(error)(model)
    assert first.weight is weight
    assert first.count is count
    assert torch.equal(count, torch.zeros(3))
    assert first.cache is None
    assert [name for name, _ in first.named_buffers()] == ["count"]
    assert [name for name, _ in first.named_parameters()] == ["weight"]
    assert [module.training for module in model.modules()] == [True, True, False]
    assert torch.is_grad_enabled()
    assert random.getstate() == python
    assert np.random.rand() == np.random.RandomState(3).rand()  # noqa: NPY002  # the generator under test
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(3))


def test_inside_the_model_is_in_inference_mode() -> None:
    """Within the block every module is in eval mode and nothing records gradients; train() is not called."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Dropout(), Refuses()))
    with preserved(model):
        assert not any(module.training for module in model.modules())
        assert not model[0](torch.ones(1, 2)).requires_grad
    assert all(module.training for module in model.modules())


def test_an_open_autograd_graph_survives() -> None:
    """Buffers that did not change are not written to: a backward pass that saved them still runs."""
    model = nn.BatchNorm1d(3).eval()
    loss = model(torch.ones(2, 3)).sum()
    with preserved(model):
        model(torch.ones(2, 3))
    loss.backward()
    assert model.weight.grad is not None
