"""The paper's formulas against finite differences, automatic differentiation, torch, and the paper's own identities."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from bnfold.nn.reference import (
    AnalyticBatchNorm,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    unbiased,
)

EPS = 0.3
"""Large, so that a formula that forgets it is off by far more than any rounding."""

ATOL = 1e-12
"""Sums of at most 120 terms of size at most 40, each rounded to 2⁻⁵³ of itself: 120 · 40 · 1.1e-16 = 5.3e-13."""

SHAPES = [(7, 3), (4, 3, 5), (5, 3, 4, 2), (2, 3, 5, 4, 1)]


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _arguments(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return x off centre, γ of both signs and β, all asking for gradients."""
    x = 1.5 + 2 * _randn(*shape, seed=1)
    gamma = _randn(shape[1], seed=2)
    return x.requires_grad_(), gamma.requires_grad_(), _randn(shape[1], seed=3).requires_grad_()


def _analytic(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return AnalyticBatchNorm.apply(x, gamma, beta, EPS)


def _assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_normalizes_every_feature_map_by_its_own_values(shape: tuple[int, ...]) -> None:
    """Each channel alone, as the flat list of values that Algorithm 1 speaks of, gives the same."""
    x, gamma, beta = (values.detach() for values in _arguments(shape))
    y, mean, variance = batch_norm(x, gamma, beta, eps=EPS)
    for channel in range(shape[1]):
        values: list[float] = x[:, channel].flatten().tolist()
        mu = sum(values) / len(values)
        sigma2 = sum((value - mu) ** 2 for value in values) / len(values)
        expected = [
            gamma[channel].item() * (value - mu) / (sigma2 + EPS) ** 0.5 + beta[channel].item() for value in values
        ]
        assert mean[channel].item() == pytest.approx(mu, rel=0, abs=ATOL)
        assert variance[channel].item() == pytest.approx(sigma2, rel=0, abs=ATOL)
        _assert_equal(y[:, channel].flatten(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_equals_finite_differences(shape: tuple[int, ...]) -> None:
    """The six formulas are the derivative of the forward pass."""
    assert gradcheck(_analytic, _arguments(shape))


def test_second_derivative_equals_finite_differences() -> None:
    """The formulas can be differentiated once more, as gradient penalties do."""
    assert gradgradcheck(_analytic, _arguments((3, 2, 4)))


def test_gradient_check_sees_a_wrong_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault, another ε in the gradient than in the forward pass, does not pass the gradient check."""

    def wrong(grad: Tensor, x: Tensor, gamma: Tensor, *, eps: float) -> object:
        return batch_norm_backward(grad, x, gamma, eps=eps * 1.1)

    monkeypatch.setattr("bnfold.nn.reference.batch_norm_backward", wrong)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(_analytic, _arguments((7, 3)))


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_equals_automatic_differentiation_and_torch(shape: tuple[int, ...]) -> None:
    """Formulas, autograd through the explicit forward pass, and torch's kernel agree on all three gradients."""
    inputs = _arguments(shape)
    x, gamma, beta = inputs
    grad = _randn(*shape, seed=4)
    analytic = batch_norm_backward(grad, x.detach(), gamma.detach(), eps=EPS)
    explicit = torch.autograd.grad(batch_norm(x, gamma, beta, eps=EPS).y, inputs, grad)
    kernel = torch.autograd.grad(
        torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=EPS), inputs, grad
    )
    for ours, differentiated, torchs in zip(analytic, explicit, kernel, strict=True):
        _assert_equal(ours, differentiated)
        _assert_equal(ours, torchs)


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_is_the_transform_with_fixed_statistics(shape: tuple[int, ...]) -> None:
    """The affine form of section 3.1 equals torch's evaluation of γ(x − E)/√(Var + ε) + β."""
    x, gamma, beta = (values.detach() for values in _arguments(shape))
    mean, variance = _randn(shape[1], seed=5), _randn(shape[1], seed=6).square() + 0.1
    expected = torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, training=False, eps=EPS)
    _assert_equal(batch_norm_inference(x, gamma, beta, mean=mean, variance=variance, eps=EPS), expected)


def test_inference_with_the_minibatch_statistics_is_the_training_transform() -> None:
    """Algorithm 2 turns into Algorithm 1 when the population is the minibatch."""
    x, gamma, beta = (values.detach() for values in _arguments((5, 3, 4, 2)))
    y, mean, variance = batch_norm(x, gamma, beta, eps=EPS)
    _assert_equal(batch_norm_inference(x, gamma, beta, mean=mean, variance=variance, eps=EPS), y)


def test_unbiased_is_the_estimate_with_one_degree_less() -> None:
    """m/(m−1)·σ²_B is torch.var with its correction of 1."""
    x = _randn(6, 1, 2)
    variance = batch_norm(x, torch.ones(1).double(), torch.zeros(1).double(), eps=EPS).variance
    _assert_equal(unbiased(variance, 12), torch.var(x, correction=1).reshape(1))


@pytest.mark.parametrize("a", [0.25, 3.0, 40.0])
def test_scale_of_the_weights_cancels(a: float) -> None:
    """Section 3.3: BN((aW)u) = BN(Wu), the same gradient by u, and 1/a of it by the weights; exact for ε = 0, a > 0."""
    u, weights = _randn(9, 4, seed=1).requires_grad_(), _randn(3, 4, seed=2).requires_grad_()
    gamma, beta, grad = _randn(3, seed=3), _randn(3, seed=4), _randn(9, 3, seed=5)
    scaled_weights = (a * weights).detach().requires_grad_()
    plain = AnalyticBatchNorm.apply(u @ weights.T, gamma, beta, 0.0)
    scaled = AnalyticBatchNorm.apply(u @ scaled_weights.T, gamma, beta, 0.0)
    _assert_equal(scaled, plain)
    by_u, by_weights = torch.autograd.grad(plain, (u, weights), grad)
    scaled_by_u, scaled_by_weights = torch.autograd.grad(scaled, (u, scaled_weights), grad)
    _assert_equal(scaled_by_u, by_u)
    _assert_equal(a * scaled_by_weights, by_weights)


def test_bias_in_front_is_subtracted_again() -> None:
    """Section 3.2: the bias of W u + b has no effect, so β takes its role."""
    x, gamma, beta = (values.detach() for values in _arguments((7, 3)))
    bias = 10 * _randn(3, seed=7)
    _assert_equal(batch_norm(x + bias, gamma, beta, eps=EPS).y, batch_norm(x, gamma, beta, eps=EPS).y)


@pytest.mark.parametrize(("x_shape", "channels"), [((4, 3), 1), ((4, 3, 5), 5), ((3,), 3)])
def test_parameters_of_another_shape_are_refused(x_shape: tuple[int, ...], channels: int) -> None:
    """One γ for all channels, γ along another axis, and an input without a channel axis are errors, not broadcasts."""
    parameter = torch.ones(channels).double()
    with pytest.raises(ValueError, match=rf"one value per channel .* got shape \[{channels}\]"):
        batch_norm(_randn(*x_shape), parameter, parameter, eps=EPS)
