"""Swapping the modules of a model: what changes class, and that nothing else changes."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnfold.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d, convert


class _Shared(nn.Module):
    """One BN called twice under two names, one nested deep, one bare subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.BatchNorm2d(3)
        self.again = self.first
        self.deep = nn.ModuleDict({"block": nn.Sequential(nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5, momentum=None))})

    def forward(self, x: Tensor) -> Tensor:
        return self.deep["block"](self.again(torch.relu(self.first(x))))


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _assert_same_training(one: nn.Module, other: nn.Module, x: Tensor) -> None:
    """Run one training step and one evaluation on both and compare outputs and states to the bit."""
    for training in (True, False):
        assert torch.equal(one.train(training)(x), other.train(training)(x))
    states = one.state_dict(), other.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("torchs", "ours", "shape"),
    [
        (nn.BatchNorm1d, BatchNorm1d, (7, 3)),
        (nn.BatchNorm2d, BatchNorm2d, (5, 3, 4, 2)),
        (nn.BatchNorm3d, BatchNorm3d, (2, 3, 5, 4, 6)),
    ],
)
def test_root_is_converted(torchs: type[nn.Module], ours: type[nn.Module], shape: tuple[int, ...]) -> None:
    """A BN that is itself the model comes back as ours, and the original stays torch's."""
    model = torchs(3)
    converted = convert(model)
    assert type(converted) is ours
    assert type(model) is torchs
    _assert_same_training(converted, model, _randn(*shape))


def test_nested_and_shared_modules_are_converted_once() -> None:
    """Every BN of a network changes class, and one that has two names is still one module."""
    model = _Shared()
    converted = convert(model)
    assert [type(part) for part in converted.modules() if isinstance(part, nn.BatchNorm2d)] == [BatchNorm2d] * 2
    assert converted.first is converted.again
    assert type(converted) is _Shared
    _assert_same_training(converted, model, _randn(4, 3, 6, 5))


def test_copy_shares_nothing_with_the_original() -> None:
    """Training the converted model leaves the original's weights and statistics alone."""
    model = _Shared()
    before = copy.deepcopy(model.state_dict())
    converted = convert(model)
    converted(_randn(4, 3, 6, 5)).sum().backward()
    with torch.no_grad():
        for parameter in converted.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "flags",
    [
        {"affine": False},
        {"bias": False},
        {"track_running_stats": False},
        {"momentum": None, "eps": 0.3},
        {"dtype": torch.float64},
        {"device": "meta"},
    ],
    ids=str,
)
def test_flags_survive(flags: dict[str, Any]) -> None:
    """Constructor flags, mode, requires_grad, dtype, device and attributes set later are those of the original."""
    model = nn.BatchNorm2d(3, **flags).eval()
    model.requires_grad_(False)
    vars(model)["tag"] = "stem"
    converted = convert(nn.Sequential(model))[0]
    assert type(converted) is BatchNorm2d
    assert repr(converted) == repr(model)
    assert not converted.training
    assert vars(converted)["tag"] == "stem"
    assert converted.state_dict().keys() == model.state_dict().keys()
    assert not any(parameter.requires_grad for parameter in converted.parameters())
    for name, value in converted.state_dict().items():
        assert (value.dtype, value.device) == (model.state_dict()[name].dtype, model.state_dict()[name].device)


def test_hooks_survive() -> None:
    """A forward hook of the original's BN still changes the output of the converted one."""

    def double(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return 2 * output

    model = nn.BatchNorm1d(3)
    model.register_forward_hook(double)
    converted = convert(model)
    assert torch.equal(converted(_randn(7, 3)), 2 * BatchNorm1d(3)(_randn(7, 3)))


class _Own(nn.BatchNorm2d):
    """A user's subclass with a forward pass of its own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return super().forward(input) + 1


def _parametrized() -> nn.Module:
    """Return a BN whose weight is computed; torch gives it a class of its own."""
    module = nn.BatchNorm2d(3)
    nn.utils.parametrize.register_parametrization(module, "weight", nn.Softplus())
    return module


@pytest.mark.parametrize(
    "make",
    [lambda: _Own(3), lambda: nn.SyncBatchNorm(3), lambda: nn.InstanceNorm2d(3), _parametrized],
)
def test_what_bnfold_has_no_equal_for_is_left_alone(make: Any) -> None:
    """Subclasses, synchronized and instance normalization keep their class."""
    model = nn.Sequential(make(), nn.BatchNorm2d(3))
    kind = type(model[0])
    converted = convert(model)
    # torch makes the class of a parametrized module anew in every copy; its base stays.
    assert type(converted[0]).__name__ == kind.__name__
    assert not isinstance(converted[0], BatchNorm2d)
    assert type(converted[1]) is BatchNorm2d
    _assert_same_training(converted, model, _randn(4, 3, 6, 5))


def test_lazy_module_is_converted_after_its_first_minibatch() -> None:
    """Before it, torch cannot copy it and says what to do; after it, it is torch's plain module."""
    model = nn.LazyBatchNorm2d()
    with pytest.raises(ValueError, match="Call `forward` with a dummy batch"):
        convert(model)
    model(_randn(4, 3, 6, 5))
    assert type(convert(model)) is BatchNorm2d


def test_converting_twice_changes_nothing() -> None:
    """Our own modules are copied as they are."""
    once = convert(_Shared())
    twice = convert(once)
    assert [type(part) for part in twice.modules()] == [type(part) for part in once.modules()]
    _assert_same_training(twice, once, _randn(4, 3, 6, 5))
