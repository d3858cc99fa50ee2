"""Tests of ``bnfold.population.one_pass``: minibatches side by side give what each by itself gives."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.population import CalibrationReport, Estimator, calibrate
from tests.population.families import FAMILIES, family, furthest, pictures
from tests.population.networks import Columns, randomize

SAME = 1e-5
"""float32 activations computed in another order: some roundings of 6e-8 in up to a hundred products."""

EXACT = 1e-9
"""The same in float64 at mean/std up to 1e5."""


def forward(model: nn.Module, batch: object) -> object:
    """Run the model; given to ``calibrate``, it keeps the model from being captured, and minibatches apart."""
    return model(batch)


def found(report: CalibrationReport) -> dict[str, tuple[Columns, Columns]]:
    """Return the new statistics by layer."""
    return {layer.name: (layer.new_mean, layer.new_variance) for layer in report.layers}


@pytest.mark.parametrize("estimator", [Estimator.POOLED, Estimator.ALGORITHM_2])
@pytest.mark.parametrize("size", [2, 7, 100])
@pytest.mark.parametrize("name", FAMILIES)
def test_side_by_side_is_one_by_one(name: str, size: int, estimator: Estimator) -> None:
    """Statistics and standard errors, with a ragged last batch, on every family of networks."""
    batches = pictures().split(size)
    together = calibrate(family(name), batches, estimator=estimator)
    apart = calibrate(family(name), batches, estimator=estimator, forward_fn=forward)
    assert furthest(found(together), found(apart)) < SAME
    assert (together.samples, together.batches, together.notes) == (apart.samples, apart.batches, apart.notes)
    for one, other in zip(together.layers, apart.layers, strict=True):
        assert one.count == other.count
        for error in ("mean_error", "variance_error"):
            np.testing.assert_allclose(getattr(one, error), getattr(other, error), rtol=1e-4, err_msg=error)


@pytest.mark.parametrize("name", FAMILIES)
def test_minibatches_of_means_far_apart_lose_no_digits(name: str) -> None:
    """Each has a shift of its own: side by side with another that lies 1e5 standard deviations away."""
    inputs = pictures(dtype=torch.float64) + 1e5 * (torch.arange(307).view(-1, 1, 1, 1) // 7)
    together = calibrate(family(name, torch.float64), inputs.split(7), estimator=Estimator.ALGORITHM_2)
    apart = calibrate(family(name, torch.float64), inputs.split(7), estimator=Estimator.ALGORITHM_2, forward_fn=forward)
    assert furthest(found(together), found(apart)) < EXACT


def rows_of(model: nn.Module, batches: Sequence[Tensor]) -> list[int]:
    """Return how many rows the model's linear layer was given, call by call, while it was calibrated."""
    rows: list[int] = []
    linear = nn.functional.linear

    def watched(values: Tensor, *rest: Tensor) -> Tensor:
        rows.append(len(values))
        return linear(values, *rest)

    # A hook on the layer would keep minibatches apart.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "linear", watched)
        calibrate(model, batches, estimator=Estimator.POOLED)
    return rows


class Centered(nn.Module):
    """Subtracts the mean over the batch, which mixes samples."""

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, C)."""
        return values - values.mean(0)


def network(*steps: nn.Module) -> nn.Sequential:
    """Return two BN layers of 4 channels with steps in between."""
    model = nn.Sequential(nn.BatchNorm1d(4), *steps, nn.BatchNorm1d(4))
    randomize(model, 3)
    return model


def test_small_minibatches_run_at_once() -> None:
    """Twelve minibatches of 2 take one pass, and one of 5 behind them another."""
    values = torch.randn(29, 4, generator=torch.Generator().manual_seed(5))
    rows = rows_of(network(nn.Linear(4, 4)), [*values[:24].split(2), values[24:]])
    # One sample goes through first, to see what the steps do to it.
    assert rows == [1, 24, 5]


def hooked() -> nn.Module:
    """Return a module that the user watches."""
    module = nn.Tanh()
    module.register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize("step", [Centered(), nn.Threshold(0.1, 0.0), hooked()], ids=["mixes", "unknown", "hook"])
def test_steps_that_may_mix_samples_keep_minibatches_apart(step: nn.Module) -> None:
    """A step over the batch, one that the tables do not hold, and one with a hook get each minibatch by itself."""
    values = torch.randn(8, 4, generator=torch.Generator().manual_seed(5))
    rows = rows_of(network(step, nn.Linear(4, 4)), values.split(2))
    assert [count for count in rows if count > 1] == [2, 2, 2, 2]


def test_a_minibatch_that_is_not_finite_is_found_among_others() -> None:
    """Those beside it are measured apart from it, and the layer is named."""
    values = torch.randn(8, 4, generator=torch.Generator().manual_seed(5))
    values[5, 1] = torch.inf
    with pytest.raises(InputError, match="BN layer 0: its input is not finite"):
        calibrate(network(nn.Linear(4, 4)), values.split(2), estimator=Estimator.POOLED)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_side_by_side(dtype: torch.dtype) -> None:
    """Values stay in their type between the layers, whose statistics are float32."""
    model, other = family("plain", dtype), family("plain", dtype)
    inputs = pictures(dtype=dtype)
    together = calibrate(model, inputs.split(7), estimator=Estimator.POOLED)
    apart = calibrate(other, inputs.split(7), estimator=Estimator.POOLED, forward_fn=forward)
    assert furthest(found(together), found(apart)) < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("affine", [True, False])
def test_the_input_may_come_by_keyword(*, affine: bool) -> None:
    """A layer with and without γ and β, called with ``input=``."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.BatchNorm1d(4, affine=affine), nn.BatchNorm1d(4)

        def forward(self, values: Tensor) -> Tensor:
            return self.second(self.first(input=values).exp())

    values = torch.randn(9, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    together = calibrate(Named().double(), values.split(3), estimator=Estimator.POOLED)
    apart = calibrate(Named().double(), values.split(3), estimator=Estimator.POOLED, forward_fn=forward)
    assert furthest(found(together), found(apart)) < EXACT
