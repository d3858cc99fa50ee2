"""Masked positions: they count in no statistic, get no gradient, and come out as 0."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from bnfold.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bnfold.nn.reference import batch_norm, batch_norm_backward, batch_norm_inference, unbiased

EPS = 0.3
SHAPES = [(7, 3), (4, 3, 5), (3, 3, 4, 2), (2, 3, 3, 2, 4)]
BY_RANK = {2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d}

# Sums of at most 48 terms, each below 100, rounded to 2⁻⁵³ a dozen times on the way: 12 · 48 · 100 · 1.1e-16 = 6.4e-12.
ATOL = 7e-12


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Return normal values of the seed's."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(shape: tuple[int, ...], **options: Any) -> BatchNorm1d | BatchNorm2d | BatchNorm3d:
    """Return a module for three channels with γ of both signs and no statistic at its initial value."""
    module = BY_RANK[len(shape)](3, eps=EPS, dtype=torch.float64, **options)
    module.load_state_dict({
        "weight": torch.tensor([0.7, -1.3, 2.1]),
        "bias": torch.tensor([-0.4, 0.9, 0.2]),
        "running_mean": torch.tensor([0.3, -0.8, 1.9]),
        "running_var": torch.tensor([0.2, 3.1, 1.4]),
        "num_batches_tracked": torch.tensor(0),
    })  # fmt: skip
    return module


def case(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, a gradient and a mask with both values."""
    mask = randn(shape[0], *shape[2:], seed=3) < 0.5
    assert 2 < mask.sum() < mask.numel()
    return 1.5 + 2 * randn(*shape, seed=1), randn(*shape, seed=2), mask


def rows(values: Tensor, mask: Tensor) -> Tensor:
    """Return the values that count as (m, C)."""
    return values.movedim(1, -1)[mask]


@pytest.mark.parametrize("shape", SHAPES)
def test_only_positions_under_the_mask_count(shape: tuple[int, ...]) -> None:
    """Output, gradients and running statistics are those of the list of values that count; elsewhere there is 0."""
    module, (x, grad, mask) = make(shape), case(shape)
    gamma, beta = module.weight.detach(), module.bias.detach()
    expected = batch_norm(rows(x, mask), gamma, beta, eps=EPS)
    gradients = batch_norm_backward(rows(grad, mask), rows(x, mask), gamma, eps=EPS)
    leaf = x.clone().requires_grad_()
    y: Tensor = module(leaf, mask=mask)
    by_x, by_gamma, by_beta = torch.autograd.grad(y, (leaf, module.weight, module.bias), grad)
    for actual, wanted in (
        (rows(y, mask), expected.y),
        (rows(by_x, mask), gradients.x),
        (by_gamma, gradients.gamma),
        (by_beta, gradients.beta),
    ):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=ATOL)
    assert rows(y, ~mask).abs().max() == rows(by_x, ~mask).abs().max() == 0
    state, count = module.state_dict(), int(mask.sum())
    old_mean, old_variance = torch.tensor([0.3, -0.8, 1.9]).double(), torch.tensor([0.2, 3.1, 1.4]).double()
    torch.testing.assert_close(state["running_mean"], 0.9 * old_mean + 0.1 * expected.mean, rtol=0, atol=ATOL)
    variance = unbiased(expected.variance, count)
    torch.testing.assert_close(state["running_var"], 0.9 * old_variance + 0.1 * variance, rtol=0, atol=ATOL)


@pytest.mark.parametrize("training", [True, False])
def test_what_is_padded_is_never_read(training: bool) -> None:
    """NaN under the padding reaches neither output nor gradients nor statistics, in both modes."""
    shape = (4, 3, 5)
    clean, dirty, (x, grad, mask) = make(shape).train(training), make(shape).train(training), case(shape)
    polluted = torch.where(mask.unsqueeze(1), x, math.nan)
    results: list[tuple[Tensor, ...]] = []
    for module, values in ((clean, x), (dirty, polluted)):
        leaf = values.clone().requires_grad_()
        y: Tensor = module(leaf, mask)
        results.append((y, *torch.autograd.grad(y, (leaf, *module.parameters()), grad), *module.state_dict().values()))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
        assert torch.isfinite(other).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_evaluation_is_the_inference_form_under_the_mask(shape: tuple[int, ...]) -> None:
    """In eval mode the running statistics normalize what counts, and stay; elsewhere there is 0."""
    module, (x, _, mask) = make(shape).eval(), case(shape)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    expected = batch_norm_inference(
        x, before["weight"], before["bias"], mean=before["running_mean"], variance=before["running_var"], eps=EPS
    )
    y: Tensor = module(x, mask)
    torch.testing.assert_close(y, torch.where(mask.unsqueeze(1), expected, 0), rtol=0, atol=ATOL)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_masked_gradients_equal_finite_differences(shape: tuple[int, ...], training: bool) -> None:
    """By input, γ and β, in both modes."""
    module, (x, _, mask) = make(shape).train(training), case(shape)

    def forward(values: Tensor, *_: Tensor) -> Tensor:
        return module(values, mask)

    assert gradcheck(forward, (x.requires_grad_(), module.weight, module.bias))


def test_without_affine_parameters_and_statistics_the_minibatch_still_normalizes() -> None:
    """γ, β and buffers may be missing, in eval mode too."""
    x, _, mask = case((4, 3, 5))
    module = BatchNorm1d(3, eps=EPS, affine=False, track_running_stats=False).eval()
    expected = batch_norm(rows(x, mask), torch.ones(3).double(), torch.zeros(3).double(), eps=EPS).y
    leaf = x.clone().requires_grad_()
    y: Tensor = module(leaf, mask)
    torch.testing.assert_close(rows(y, mask), expected, rtol=0, atol=ATOL)
    assert gradcheck(lambda values: module(values, mask), (leaf,))


@pytest.mark.parametrize("way", ["masked", "virtual"])
@pytest.mark.parametrize("a", [4.0, 3.0])
def test_scale_of_the_weights_cancels(way: str, a: float) -> None:
    """Section 3.3 for BN((aW)u): same output and gradient by u, 1/a of the gradient by W, ε scaled along by a²."""
    u, weights, grad = (1.5 + 2 * randn(9, 4)).requires_grad_(), randn(3, 4, seed=3), randn(9, 3, seed=2)
    mask = torch.arange(9) % 4 != 1 if way == "masked" else None
    results: list[tuple[Tensor, ...]] = []
    for factor in (1.0, a):
        module = make((9, 3), virtual_batch_size=4 if way == "virtual" else None)
        module.eps = factor**2 * EPS
        scaled = (factor * weights).requires_grad_()
        y: Tensor = module(u @ scaled.T, mask)
        by_u, by_weights = torch.autograd.grad(y, (u, scaled), grad)
        results.append((y, by_u, factor * by_weights))
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(other, plain, rtol=0, atol=ATOL)


def test_a_mask_of_everything_is_no_mask() -> None:
    """The same numbers up to rounding, and the same count of minibatches."""
    x = case((4, 3, 5))[0]
    plain, masked = make((4, 3, 5)), make((4, 3, 5))
    torch.testing.assert_close(masked(x, torch.ones(4, 5, dtype=torch.bool)), plain(x), rtol=0, atol=ATOL)
    for one, other in zip(plain.state_dict().values(), masked.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(4, 5), r"mask: expected booleans \[4, 5\], one for each position of .*, got float32"),
        (torch.ones(4, 1, dtype=torch.bool), r"got bool \[4, 1\]"),
        (torch.ones(4, 3, 5, dtype=torch.bool), r"got bool \[4, 3, 5\]"),
        (torch.eye(4, 5) * torch.tensor([1, 0, 0, 0, 0]) > 0, r"got 1 of input size \[4, 3, 5\] under the mask"),
        (torch.zeros(4, 5, dtype=torch.bool), r"got 0 of input size \[4, 3, 5\] under the mask"),
    ],
)  # fmt: skip
def test_bad_masks_leave_no_trace(mask: Tensor, words: str) -> None:
    """Another type or shape, and masks under which there is no variance, are refused before anything moves."""
    module = make((4, 3, 5))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        module(case((4, 3, 5))[0], mask)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("way", ["plain", "autocast", "masked", "virtual"])
def test_statistics_are_float32_or_wider(dtype: torch.dtype, way: str) -> None:
    """The mean of half-precision values near 100 is right to float32, thousands of times finer than their own type."""
    random = torch.Generator().manual_seed(4)
    x = (torch.randn(6, 3, 40, generator=random) + 100).to(dtype)
    module = BatchNorm1d(3, momentum=1.0, virtual_batch_size=2 if way == "virtual" else None)
    mask = torch.ones(6, 40, dtype=torch.bool) if way == "masked" else None
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        y: Tensor = module(x, mask)
    assert y.dtype == dtype
    values = x.double().transpose(0, 1).flatten(1)
    state = module.state_dict()
    assert {state[name].dtype for name in ("running_mean", "running_var")} == {torch.float32}
    # 240 terms of about 100: summed in float32 they round at most 240 times to 2⁻²⁴ of the running sum; the variance,
    # about 1, comes from differences to a mean that is off by as much.
    error = 240 * 2**-24 * 100
    torch.testing.assert_close(state["running_mean"].double(), values.mean(1), rtol=0, atol=error)
    torch.testing.assert_close(state["running_var"].double(), values.var(1), rtol=error, atol=error**2)
