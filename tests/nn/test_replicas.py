"""Statistics over several processes: outputs, gradients and state equal one process on the whole minibatch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bnfold.nn import BatchNorm1d, convert
from bnfold.nn.reference import batch_norm, batch_norm_backward, unbiased
from tests.nn import replicated_batch_norms
from tests.nn.replicated_batch_norms import CUTS, DELTA, EPS, data, module

REPOSITORY = Path(__file__).parents[2]

# Sums of at most 14 terms, each below 100, rounded to 2⁻⁵³ a dozen times on the way: 12 · 14 · 100 · 1.1e-16 = 1.9e-12.
ATOL = 2e-12


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What every process of every case computed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", replicated_batch_norms.__file__, str(tmp_path_factory.mktemp("replicas"))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are cheap to start")


def whole(case: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return y, gradients by x, γ and β, mean and variance of the whole minibatch, by the explicit reference.

    A channel's values under the mask are laid out as (m, C) for it: only which values count matters.
    """
    norm, (x, grad, mask) = module(), data()
    keep = mask if case == "masked" else torch.ones(7, 2, dtype=torch.bool)
    rows, grad_rows = (values.transpose(1, 2)[keep] for values in (x, grad))
    made = batch_norm(rows, norm.weight.detach(), norm.bias.detach(), eps=EPS)
    gradients = batch_norm_backward(grad_rows, rows, norm.weight.detach(), eps=EPS)
    y, by_x = torch.zeros(7, 2, 3).double(), torch.zeros(7, 2, 3).double()
    y[keep], by_x[keep] = made.y, gradients.x
    variance = unbiased(made.variance, len(rows))
    return y.transpose(1, 2), by_x.transpose(1, 2), gradients.gamma, gradients.beta, made.mean, variance


def joined(parts: list[dict[str, Any]], key: str) -> Tensor:
    """Return the processes' parts one behind the other."""
    return torch.cat([torch.tensor(part[key], dtype=torch.float64).reshape(-1, 3, 2) for part in parts])


@pytest.mark.parametrize("case", CUTS)
def test_processes_together_equal_one(results: dict[str, list[dict[str, Any]]], case: str) -> None:
    """However unequally the samples are spread, one process having none included, masked or not."""
    y, by_x, by_gamma, by_beta, mean, variance = whole(case)
    parts = results[case]
    assert len(parts) == len(CUTS[case]) + 1
    torch.testing.assert_close(joined(parts, "y"), y, rtol=0, atol=ATOL)
    torch.testing.assert_close(joined(parts, "x"), by_x, rtol=0, atol=ATOL)
    for key, expected in (("gamma", by_gamma), ("beta", by_beta)):
        total = torch.tensor([part[key] for part in parts], dtype=torch.float64).sum(0)
        torch.testing.assert_close(total, expected, rtol=0, atol=ATOL)
    for part in parts:
        state = {name: torch.tensor(value, dtype=torch.float64) for name, value in part["state"].items()}
        torch.testing.assert_close(state["running_mean"], 0.1 * mean, rtol=0, atol=ATOL)
        torch.testing.assert_close(state["running_var"], 0.9 + 0.1 * variance, rtol=0, atol=ATOL)
        assert state["num_batches_tracked"] == 1


@pytest.mark.parametrize("case", CUTS)
def test_scale_of_the_weights_cancels_over_processes(results: dict[str, list[dict[str, Any]]], case: str) -> None:
    """Section 3.3: the sums of absolute differences of up to 21 values are rounding."""
    for part in results[case]:
        assert max(part["scaled"]) < 21 * ATOL


def test_the_gradient_over_processes_equals_finite_differences(results: dict[str, list[dict[str, Any]]]) -> None:
    """Every value of the minibatch is moved in turn, and all processes say what became of their part of the loss."""
    parts = results["uneven"]
    for part in parts:
        slopes = torch.tensor(part["differences"], dtype=torch.float64).reshape(7, 3, 2)
        # Truncation: δ²/6 times a third derivative below 1e3; rounding: the loss, below 1e3, times 2⁻⁵³ over δ.
        bound = DELTA**2 / 6 * 1e3 + 1e3 * 2**-53 / DELTA
        torch.testing.assert_close(slopes, joined(parts, "x"), rtol=0, atol=bound)


def test_a_world_of_one_is_the_plain_module() -> None:
    """Without other processes the word "world" changes no bit."""
    x = data()[0].requires_grad_()
    alone, plain = module(), convert(module())
    plain.pool()
    assert torch.equal(alone(x), plain(x))
    assert isinstance(plain, BatchNorm1d)
    assert plain.process_group is None
