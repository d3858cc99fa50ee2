"""Tests of ``bnfold.population.calibrate``: what it leaves untouched, and what it says to bad input."""

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.population import Estimator, calibrate
from bnfold.population.calibrate import ForwardFn
from bnfold.progress import Progress, silent
from tests.population.networks import Classifier, classifier, images, statistics_of

T = TypeVar("T")


class Counting(nn.Module):
    """Counts its calls in a buffer, in eval mode too."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, values: Tensor) -> Tensor:
        """Return the values."""
        self.calls += 1
        return values


def furnished() -> Classifier:
    """Return a classifier with flags, hooks and foreign buffers of every kind set."""
    model = classifier(dropout=0.5)
    model.train()
    model.conv2.eval()
    model.bn3.eval()
    model.register_module("drop", nn.Sequential(nn.Dropout(), Counting()))
    model.bn1.register_forward_pre_hook(lambda _, args: args)
    model.bn2.register_forward_hook(lambda _, __, output: output)
    model.bn1.momentum = 0.37
    model.conv1.weight.requires_grad_(False)
    return model


def everything(model: nn.Module) -> dict[str, object]:
    """Return all that has to come back, comparable: flags, momenta, hooks, identities and generators."""
    return {
        "flags": [module.training for module in model.modules()],
        "momenta": [getattr(module, "momentum", 0.0) for module in model.modules()],
        "tracking": [getattr(module, "track_running_stats", None) for module in model.modules()],
        "hooks": [(list(module._forward_pre_hooks), list(module._forward_hooks)) for module in model.modules()],
        "hook options": [list(module._forward_pre_hooks_with_kwargs) for module in model.modules()],
        "tensors": [(name, id(tensor)) for name, tensor in [*model.named_parameters(), *model.named_buffers()]],
        "gradients": [parameter.requires_grad for parameter in model.parameters()],
        "generators": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),  # type: ignore[union-attr]  # noqa: NPY002
        "gradient mode": torch.is_grad_enabled(),
    }


def noisy(model: nn.Module, batch: object) -> object:
    """Run the model with random numbers from everywhere, as an augmenting pipeline would."""
    assert isinstance(batch, Tensor)
    random.seed(5)
    return model(batch + torch.rand(()) + np.random.rand())  # noqa: NPY002  # the generator under test


def assert_restored(model: nn.Module, before: dict[str, object], state: dict[str, Tensor], changed: set[str]) -> None:
    """Hold a model to what it was, but for the values of the named tensors."""
    now = everything(model)
    for what, value in before.items():
        assert now[what] == value, what
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]) == (name not in changed), name


def test_on_success_only_the_statistics_change() -> None:
    """Flags, momenta, counters, hooks, foreign buffers, tensor identities, generators, gradient mode: as before."""
    model = furnished()
    before, state = everything(model), copy.deepcopy(model.state_dict())
    calibrate(model, images(16).split(8), forward_fn=noisy)
    changed = {f"{layer}.running_{which}" for layer in ("bn1", "bn2") for which in ("mean", "var")}
    assert_restored(model, before, state, changed)


def failing_batches(error: BaseException) -> Iterator[Tensor]:
    """Yield a batch, then fail."""
    yield images(8)
    raise error


def failing_progress(error: BaseException) -> Progress:
    """Return a progress that fails after its first item, as a bar does that is interrupted."""

    def progress(
        items: Iterable[T], *, description: str, total: int | None = None, samples: object = None
    ) -> Iterator[T]:
        for item in silent(items, description=description, total=total):
            yield item
            raise error

    return progress


def failing_forward(error: BaseException) -> ForwardFn:
    """Return a forward function that fails on the second batch, in the midst of the model."""

    def forward(model: nn.Module, batch: object) -> object:
        counting = model.get_submodule("drop.1")
        assert isinstance(counting, Counting)
        if counting.calls > 0:
            model.get_submodule("conv2").register_forward_hook(fail)
        return noisy(model, batch)

    def fail(module: nn.Module, _: object, __: object) -> None:
        module._forward_hooks.clear()
        raise error

    return forward


@pytest.mark.parametrize("error", [RuntimeError("planted"), KeyboardInterrupt("planted")], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("where", ["batches", "progress", "forward"])
def test_on_failure_nothing_changes(where: str, error: BaseException) -> None:
    """An exception or Ctrl-C in the data, the progress bar or the model leaves everything as it was."""
    model = furnished()
    before, state = everything(model), copy.deepcopy(model.state_dict())
    batches = failing_batches(error) if where == "batches" else images(16).split(8)
    forward_fn = failing_forward(error) if where == "forward" else noisy
    progress = failing_progress(error) if where == "progress" else silent
    with pytest.raises(type(error), match="planted"):
        calibrate(model, batches, forward_fn=forward_fn, progress=progress)
    assert_restored(model, before, state, set())


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (list[Tensor](), "batches: empty"),
        ([images(0)], "batches: empty"),
        ([images(4), images(4) * torch.nan], "BN layer bn1: its input is not finite .* channel 0"),
        ([images(4) * torch.inf], "BN layer bn1: its input is not finite"),
        ([images(1)], "BN layer bn3: 1 value per channel has no variance"),
    ],
    ids=["no batches", "empty batch", "NaN", "infinity", "one value"],
)
def test_bad_batches_are_refused(batches: list[Tensor], message: str) -> None:
    """One line that names the layer, and nothing changed."""
    model = classifier()
    before = statistics_of(model)
    with pytest.raises(InputError, match=message):
        calibrate(model, batches)
    assert all(torch.equal(model.get_buffer(name), statistic) for name, statistic in before.items())


@pytest.mark.parametrize(
    ("batches", "settings", "message"),
    [
        (images(4), {}, r"found one Tensor; for a single batch, give \[batch\]"),
        ({"images": images(4)}, {}, r"found one dict; for a single batch, give \[batch\]"),
        ([images(4)], {"memory_budget": -1}, "expected at least 0 bytes, found -1"),
        ([(images(4), images(4))], {}, r"does not fit Classifier\.forward: too many positional arguments"),
        ([images(4).numpy()], {}, "found ndarray; pass a forward_fn"),
    ],
)
def test_other_things_than_batches_are_refused(batches: Any, settings: dict[str, Any], message: str) -> None:
    """One line that says what to give instead."""
    with pytest.raises(InputError, match=message):
        calibrate(classifier(), batches, **settings)


@pytest.mark.parametrize("estimator", [Estimator.POOLED, Estimator.ALGORITHM_2, Estimator.SELF_CONSISTENT])
def test_batches_without_samples_are_passed_over(estimator: Estimator) -> None:
    """They count neither as samples nor as batches."""
    with_empty, without = classifier(), classifier()
    report = calibrate(with_empty, [images(0), images(8), images(0)], estimator=estimator)
    calibrate(without, [images(8)], estimator=estimator)
    assert (report.samples, report.batches) == (8, 1)
    for name, statistic in statistics_of(without).items():
        assert torch.equal(with_empty.get_buffer(name), statistic)


def test_a_batch_of_one_value_is_refused_where_layers_normalize_by_it() -> None:
    """Normalized by one value per channel every sample is β: no pooled statistics above come of that."""
    with pytest.raises(InputError, match="batch 1: it has one value per channel at BN layer bn3"):
        calibrate(classifier(), [images(1), images(4)], estimator=Estimator.POOLED)


def test_weights_that_are_not_finite_name_the_first_layer_above_them() -> None:
    """NaN in a weight shows at the BN layer that it reaches first."""
    model = classifier()
    with torch.no_grad():
        model.conv2.weight[3, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"BN layer bn2: .* channel 3"):
        calibrate(model, [images(4)])


def test_statistics_that_do_not_fit_change_nothing() -> None:
    """A variance beyond float16 in one layer leaves all layers as they were."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)).half()
    before = statistics_of(model)
    with pytest.raises(InputError, match=r"BN layer 0: .* torch\.float16"):
        calibrate(model, [torch.randn(64, 3, generator=torch.Generator().manual_seed(1)).mul(1000).half()])
    assert all(torch.equal(model.get_buffer(name), statistic) for name, statistic in before.items())


class Sized(torch.utils.data.IterableDataset[Tensor]):
    """A data set whose loader does not know its length."""

    def __iter__(self) -> Iterator[Tensor]:
        """Yield eight images."""
        return iter(images(8))


@pytest.mark.parametrize(
    ("batches", "known"),
    [
        (lambda: images(24).split(8), True),
        (lambda: torch.utils.data.DataLoader(images(24), batch_size=8), True),  # pyright: ignore[reportArgumentType]  # indexable is enough
        (lambda: iter([images(24)]), True),
        (lambda: (batch for batch in images(24).split(8)), False),
        (lambda: torch.utils.data.DataLoader(Sized(), batch_size=4), False),
    ],
    ids=["tuple", "loader", "iterator", "generator", "loader without length"],
)
@pytest.mark.parametrize("way", ["one pass", "walk", "passes"])
def test_progress_counts_samples(batches: Callable[[], Iterable[object]], way: str, *, known: bool) -> None:
    """Every sample once, of how many where that can be known, and in passes once for each pass."""
    told: list[tuple[int | None, float]] = []

    def progress(
        items: Iterable[T],
        *,
        description: str,
        total: int | None = None,
        samples: Callable[[T], float] | None = None,
    ) -> Iterator[T]:
        told.append((total, 0))
        for item in items:
            assert samples is not None
            told[-1] = total, told[-1][1] + samples(item)
            yield item

    estimator = Estimator.POOLED if way == "one pass" else Estimator.SELF_CONSISTENT
    forward_fn = (lambda model, batch: model(batch)) if way == "passes" else None
    report = calibrate(classifier(), batches(), progress=progress, estimator=estimator, forward_fn=forward_fn)
    total = report.samples if known or way == "passes" else None
    assert told == [(total, pytest.approx(report.samples))] * (4 if way == "passes" else 1)
