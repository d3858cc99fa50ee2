"""Algorithm 1 of the paper, its gradient and its inference form, each line as the paper writes it.

This is what ``bnfold.nn``'s modules are held to. It is plain tensor arithmetic in the dtype of its arguments: give it
float64 for a reference.

Shapes: x, y and ∂ℓ/∂y are (N, C, *spatial) with any number of spatial axes; γ, β, means and variances are (C,). Every
sum runs over the m = N·∏spatial values of one channel: one activation for (N, C), one feature map for convolutions
(section 3.2). ε is in units of variance and at least 0. Parameters of another shape than (C,) raise ValueError.

Source: S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015; section numbers are the paper's.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Normalized(NamedTuple):
    """What Algorithm 1 computes: y (N, C, *spatial), and per channel (C,) μ_B and the biased σ²_B."""

    y: Tensor
    mean: Tensor
    variance: Tensor


class Gradients(NamedTuple):
    """∂ℓ/∂x (N, C, *spatial), ∂ℓ/∂γ (C,) and ∂ℓ/∂β (C,)."""

    x: Tensor
    gamma: Tensor
    beta: Tensor


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float) -> Normalized:
    """Normalize a minibatch by its own statistics (Algorithm 1, section 3).

    μ_B = (1/m) Σ x    σ²_B = (1/m) Σ (x − μ_B)²    x̂ = (x − μ_B)/√(σ²_B + ε)    y = γ x̂ + β
    """
    gamma, beta = _per_channel(gamma, x), _per_channel(beta, x)
    m, axes = _values_per_channel(x), _summed_axes(x)
    mean = x.sum(axes, keepdim=True) / m
    variance = (x - mean).square().sum(axes, keepdim=True) / m
    x_hat = (x - mean) / torch.sqrt(variance + eps)
    return Normalized(gamma * x_hat + beta, mean.flatten(), variance.flatten())


def batch_norm_backward(grad: Tensor, x: Tensor, gamma: Tensor, *, eps: float) -> Gradients:
    """Return the gradient of a loss ℓ through Algorithm 1 (section 3), given g = ``grad`` = ∂ℓ/∂y.

    ∂ℓ/∂x̂   = g γ
    ∂ℓ/∂σ²_B = Σ ∂ℓ/∂x̂ (x − μ_B) · (−1/2)(σ²_B + ε)^(−3/2)
    ∂ℓ/∂μ_B  = Σ ∂ℓ/∂x̂ · (−1/√(σ²_B + ε)) + ∂ℓ/∂σ²_B · (1/m) Σ −2 (x − μ_B)
    ∂ℓ/∂x    = ∂ℓ/∂x̂ /√(σ²_B + ε) + ∂ℓ/∂σ²_B · 2 (x − μ_B)/m + ∂ℓ/∂μ_B / m
    ∂ℓ/∂γ    = Σ g x̂
    ∂ℓ/∂β    = Σ g
    """
    gamma = _per_channel(gamma, x)
    m, axes = _values_per_channel(x), _summed_axes(x)
    centred = x - x.sum(axes, keepdim=True) / m
    deviation = torch.sqrt(centred.square().sum(axes, keepdim=True) / m + eps)
    x_hat = centred / deviation

    grad_x_hat = grad * gamma
    grad_variance = (grad_x_hat * centred).sum(axes, keepdim=True) * (-1 / 2) * deviation**-3
    grad_mean = (grad_x_hat * (-1 / deviation)).sum(axes, keepdim=True)
    # Σ (x − μ_B) is 0 but for rounding; the term stands here because the paper has it.
    grad_mean = grad_mean + grad_variance * (-2 * centred).sum(axes, keepdim=True) / m
    grad_x = grad_x_hat / deviation + grad_variance * 2 * centred / m + grad_mean / m
    return Gradients(grad_x, (grad * x_hat).sum(axes), grad.sum(axes))


def batch_norm_inference(
    x: Tensor, gamma: Tensor, beta: Tensor, *, mean: Tensor, variance: Tensor, eps: float
) -> Tensor:
    """Return y = γ/√(Var[x] + ε) · x + (β − γ E[x]/√(Var[x] + ε)), Var[x] unbiased (Algorithm 2, section 3.1)."""
    gamma, beta, mean, variance = (_per_channel(values, x) for values in (gamma, beta, mean, variance))
    scale = gamma / torch.sqrt(variance + eps)
    return scale * x + (beta - scale * mean)


def unbiased(variance: Tensor, m: int) -> Tensor:
    """Return m/(m−1)·σ²_B, the unbiased estimate from the biased variance of m > 1 values (section 3.1)."""
    return variance * m / (m - 1)


class AnalyticBatchNorm(torch.autograd.Function):
    """``AnalyticBatchNorm.apply(x, gamma, beta, eps)``: y of Algorithm 1, differentiated by the paper's formulas.

    The formulas are differentiable themselves, so second derivatives follow from them.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        """Compute y and keep what the formulas of the gradient read."""
        x, gamma, beta, ctx.eps = args
        ctx.save_for_backward(x, gamma)
        return batch_norm(x, gamma, beta, eps=ctx.eps).y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return ∂ℓ/∂x, ∂ℓ/∂γ, ∂ℓ/∂β; ε has none."""
        x, gamma = ctx.saved_tensors
        gradients = batch_norm_backward(grad_outputs[0], x, gamma, eps=ctx.eps)
        return gradients.x, gradients.gamma, gradients.beta, None


def _summed_axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1]


def _values_per_channel(x: Tensor) -> int:
    return x.numel() // x.size(1)


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """View (C,) as (1, C, 1, …), to stand beside ``x``."""
    if x.dim() < 2 or values.shape != (x.size(1),):
        raise ValueError(
            f"Expected one value per channel of an input (N, C, *spatial), got shape {list(values.shape)} for an input "
            f"of shape {list(x.shape)}."
        )
    return values.reshape(1, -1, *[1] * (x.dim() - 2))
