"""The modules' numbers: forward, gradients and running statistics against the explicit reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck

from bnfold.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bnfold.nn.reference import Gradients, batch_norm, batch_norm_backward, batch_norm_inference, unbiased

EPS = 0.3
"""Large, so that a formula that forgets it is off by far more than any rounding."""

SHAPES = [(7, 3), (4, 3, 5), (5, 3, 4, 2), (2, 3, 5, 4, 6)]
BY_RANK = {2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d}
Module = BatchNorm1d | BatchNorm2d | BatchNorm3d

DTYPES = [
    pytest.param(torch.float64, torch.float64, id="float64"),
    pytest.param(torch.float32, torch.float32, id="float32"),
    pytest.param(torch.bfloat16, torch.float32, id="bfloat16-with-float32-parameters"),
    pytest.param(torch.bfloat16, torch.bfloat16, id="bfloat16"),
]


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _off_centre(*shape: int, seed: int = 1) -> Tensor:
    return 1.5 + 2 * _randn(*shape, seed=seed)


def _make_module(rank: int, *, dtype: torch.dtype = torch.float64, momentum: float | None = 0.1) -> Module:
    """Return a module for 3 channels with γ of both signs and no statistic at its initial value."""
    module = BY_RANK[rank](3, eps=EPS, momentum=momentum, dtype=dtype)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.7, -1.3, 2.1]))
        module.bias.copy_(torch.tensor([-0.4, 0.9, 0.2]))
        assert module.running_mean is not None
        assert module.running_var is not None
        module.running_mean.copy_(torch.tensor([0.3, -0.8, 1.9]))
        module.running_var.copy_(torch.tensor([0.2, 3.1, 1.4]))
    return module


def _channels(values: Tensor, like: Tensor) -> Tensor:
    return values.double().reshape(1, -1, *[1] * (like.dim() - 2))


class _Expected:
    """The reference in float64 on the values that a module sees, and how far rounding may lead away from it.

    Every value a module computes is rounded a handful of times in its own type (8 covers mean, centring, deviation,
    quotient, γ, β and the stored result), and a sum of m terms at most m times in the type it is accumulated in,
    float32 or wider. Each rounding costs at most ``finfo.eps`` of the sum of the magnitudes of all terms, so that
    cancellation is covered.
    """

    def __init__(self, module: Module, x: Tensor, grad: Tensor, *, eps: float = EPS) -> None:
        self.x, self.grad = x.detach().double(), grad.double()
        gamma, beta = module.weight.detach().double(), module.bias.detach().double()
        self.y, mean, variance = batch_norm(self.x, gamma, beta, eps=eps)
        self.gradients = batch_norm_backward(self.grad, self.x, gamma, eps=eps)
        self.gamma, self.beta, self.mean, variance = (_channels(v, x) for v in (gamma, beta, mean, variance))
        self.deviation = torch.sqrt(variance + eps)
        self.m = x.numel() // 3
        wide = torch.promote_types(x.dtype, torch.float32)
        self.unit = 8 * torch.finfo(x.dtype).eps + self.m * torch.finfo(wide).eps

    def check_forward(self, y: Tensor) -> None:
        _assert_within(y, self.y, self.unit * (self.gamma.abs() * self._x_hat() + self.beta.abs()))

    def check_backward(self, actual: Gradients) -> None:
        axes = [axis for axis in range(self.x.dim()) if axis != 1]
        grad, x_hat = self.grad.abs(), self._x_hat()
        means = grad.mean(axes, keepdim=True) + x_hat * (grad * x_hat).mean(axes, keepdim=True)
        _assert_within(actual.x, self.gradients.x, self.unit * self.gamma.abs() / self.deviation * (grad + means))
        _assert_within(actual.gamma, self.gradients.gamma, self.unit * (grad * x_hat).sum(axes))
        _assert_within(actual.beta, self.gradients.beta, self.unit * grad.sum(axes))

    def _x_hat(self) -> Tensor:
        return (self.x.abs() + self.mean.abs()) / self.deviation


def _assert_within(actual: Tensor, expected: Tensor, bound: Tensor) -> None:
    excess = ((actual.detach().double() - expected).abs() / bound).max().item()
    assert excess <= 1, f"off by {excess:.3g} times what rounding explains"


def _run(module: Module, x: Tensor, grad: Tensor) -> tuple[Tensor, Gradients]:
    x = x.detach().requires_grad_()
    y: Tensor = module(x)
    return y, Gradients(*torch.autograd.grad(y, (x, module.weight, module.bias), grad))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "parameter_dtype"), DTYPES)
def test_training_pass_equals_the_reference(
    shape: tuple[int, ...], dtype: torch.dtype, parameter_dtype: torch.dtype
) -> None:
    """Output and all gradients of a minibatch, for every rank and type, differ by rounding alone."""
    module = _make_module(len(shape), dtype=parameter_dtype)
    x, grad = _off_centre(*shape).to(dtype), _randn(*shape, seed=2).to(dtype)
    y, gradients = _run(module, x, grad)
    expected = _Expected(module, x, grad)
    assert y.dtype == dtype
    expected.check_forward(y)
    expected.check_backward(gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("wrong", ["epsilon", "variance"])
def test_comparison_with_the_reference_sees_planted_faults(dtype: torch.dtype, wrong: str) -> None:
    """An ε off by 1 % or an unbiased variance in the minibatch's own normalization is not taken for rounding."""
    module, shape = _make_module(4, dtype=dtype), (5, 3, 4, 2)
    x, grad = _off_centre(*shape).to(dtype), _randn(*shape, seed=2).to(dtype)
    faulty = _Expected(module, x, grad, eps=EPS * 1.01)
    if wrong == "variance":
        grown = torch.sqrt(unbiased(faulty.deviation.square() - EPS * 1.01, faulty.m) + EPS)
        faulty.y = (faulty.x - faulty.mean) / grown * faulty.gamma + faulty.beta
    y, gradients = _run(module, x, grad)
    with pytest.raises(AssertionError, match="times what rounding explains"):
        faulty.check_forward(y)
    with pytest.raises(AssertionError, match="times what rounding explains"):
        faulty.check_backward(gradients)


@settings(max_examples=40, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).filter(lambda dims: torch.Size(dims).numel() > 1),
    eps=st.floats(1e-3, 10),
    seed=st.integers(0, 2**32),
)
def test_training_pass_equals_the_reference_for_any_shape(shape: list[int], eps: float, seed: int) -> None:
    """No extent, also of 1, and no ε changes which values are summed."""
    full = (shape[0], 3, *shape[1:])
    module = _make_module(len(full))
    module.eps = eps
    x, grad = _off_centre(*full, seed=seed), _randn(*full, seed=seed + 1)
    y, gradients = _run(module, x, grad)
    expected = _Expected(module, x, grad, eps=eps)
    expected.check_forward(y)
    expected.check_backward(gradients)


def test_training_pass_takes_channels_last_memory() -> None:
    """The other memory format is another kernel of torch and the same function."""
    module, x, grad = _make_module(4), _off_centre(5, 3, 4, 2), _randn(5, 3, 4, 2, seed=2)
    y, gradients = _run(module, x.contiguous(memory_format=torch.channels_last), grad)
    assert y.is_contiguous(memory_format=torch.channels_last)
    expected = _Expected(module, x, grad)
    expected.check_forward(y)
    expected.check_backward(gradients)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_equal_finite_differences(shape: tuple[int, ...], training: bool) -> None:
    """In double precision, by input, γ and β, in both modes."""
    module = _make_module(len(shape)).train(training)

    def forward(x: Tensor, *_: Tensor) -> Tensor:
        return module(x)

    small = tuple(min(extent, 4) for extent in shape)
    # The check perturbs its inputs in place, so that γ and β may be the module's own.
    assert gradcheck(forward, (_off_centre(*small).requires_grad_(), module.weight, module.bias))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_evaluation_equals_the_inference_form(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """In eval mode the running statistics normalize, and stay as they are."""
    module = _make_module(len(shape), dtype=dtype).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = _off_centre(*shape).to(dtype)
    gamma, beta = module.weight.detach().double(), module.bias.detach().double()
    mean, variance = before["running_mean"].double(), before["running_var"].double()
    expected = batch_norm_inference(x.double(), gamma, beta, mean=mean, variance=variance, eps=EPS)
    scale = _channels(gamma / torch.sqrt(variance + EPS), x).abs()
    magnitude = scale * (x.double().abs() + _channels(mean, x).abs()) + _channels(beta, x).abs()
    _assert_within(module(x), expected, 8 * torch.finfo(dtype).eps * magnitude)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_running_statistics_move_towards_mean_and_unbiased_variance() -> None:
    """Each minibatch weighs 0.3, and its variance enters as m/(m−1)·σ²_B."""
    module = _make_module(4, momentum=0.3)
    mean, variance = module.state_dict()["running_mean"].clone(), module.state_dict()["running_var"].clone()
    for seed in (1, 2):
        x = _off_centre(5, 3, 4, 2, seed=seed)
        module(x)
        minibatch = batch_norm(x, mean, variance, eps=EPS)
        mean = 0.7 * mean + 0.3 * minibatch.mean
        variance = 0.7 * variance + 0.3 * unbiased(minibatch.variance, 40)
    _assert_statistics(module, mean, variance, minibatches=2)


def test_without_momentum_running_statistics_are_the_average_of_all_minibatches() -> None:
    """momentum=None forgets the initial values and weighs three minibatches of different size alike."""
    module = _make_module(4, momentum=None)
    zeros = torch.zeros(3).double()
    minibatches = [_off_centre(n, 3, 4, 2, seed=n) for n in (5, 2, 7)]
    for x in minibatches:
        module(x)
    statistics = [batch_norm(x, zeros, zeros, eps=EPS) for x in minibatches]
    mean = sum((each.mean for each in statistics), zeros) / 3
    variance = sum((unbiased(each.variance, 8 * n) for each, n in zip(statistics, (5, 2, 7), strict=True)), zeros) / 3
    _assert_statistics(module, mean, variance, minibatches=3)


def _assert_statistics(module: nn.Module, mean: Tensor, variance: Tensor, *, minibatches: int) -> None:
    """Sums of at most 56 squares, each below 100, rounded to 2⁻⁵³: 56 · 100 · 1.1e-16 = 6.2e-13."""
    state = module.state_dict()
    torch.testing.assert_close(state["running_mean"], mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(state["running_var"], variance, rtol=0, atol=1e-12)
    assert state["num_batches_tracked"].item() == minibatches


@pytest.mark.parametrize("a", [4.0, 3.0])
def test_scale_of_the_weights_cancels(a: float) -> None:
    """Section 3.3 for BN((aW)u), where ε, being in units of variance, is scaled along by a²."""
    u, weights, grad = _off_centre(9, 4).requires_grad_(), _randn(3, 4, seed=3), _randn(9, 3, seed=2)
    results: list[tuple[Tensor, ...]] = []
    for factor in (1.0, a):
        module, scaled = _make_module(2), (factor * weights).requires_grad_()
        module.eps = factor**2 * EPS
        y: Tensor = module(u @ scaled.T)
        by_u, by_weights = torch.autograd.grad(y, (u, scaled), grad)
        results.append((y, by_u, factor * by_weights))
    # Sums of 9 terms, each at most 40, rounded to 2⁻⁵³ a dozen times on the way: 12 · 9 · 40 · 1.1e-16 = 4.8e-13.
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(other, plain, rtol=0, atol=5e-13)
