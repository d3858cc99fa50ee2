"""Algorithm 1 over a set of values that is not simply all of one tensor: masked, or spread over processes.

Over the m values of a channel that count, those under the mask on all replicas (processes of a group) together::

    μ = (1/m) Σ x      σ² = (1/m) Σ (x − μ)²      x̂ = (x − μ)/√(σ² + ε)      y = γ·x̂ + β

    ∂ℓ/∂x = γ/√(σ² + ε) · (g − (1/m) Σ g − x̂·(1/m) Σ g·x̂)      ∂ℓ/∂γ = Σ g·x̂      ∂ℓ/∂β = Σ g

with g = ∂ℓ/∂y and ℓ the sum of the losses of all replicas. The first line of the gradient is the paper's three (section
3, `bnfold.nn.reference`) collected; its sums run over all replicas, those of γ and β over this one, since whoever
averages gradients over replicas (DistributedDataParallel) adds them up like those of any other parameter.

Each replica computes count, mean and M2 = Σ (x − mean)² of its own values; these are exchanged once and merged in
float64 by Chan's formula, never as E[x²] − E[x]², so that counts may differ and any may be 0. Values are read in
float32 or wider, whatever their type.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup


class Pooled(NamedTuple):
    """What was normalized, in the input's type, and per channel (C,) in float64: μ, the biased σ², and m, a scalar."""

    y: Tensor
    mean: Tensor
    variance: Tensor
    m: Tensor


def pooled_batch_norm(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, *, mask: Tensor | None, group: ProcessGroup | None, eps: float
) -> Pooled:
    """Normalize ``x`` (N, C, *spatial) by the statistics of all values that count.

    Args:
        x: the values; N may be 0 on a replica.
        gamma: (C,), None for 1.
        beta: (C,), None for 0.
        mask: booleans (N, *spatial), true where a value counts; None for everywhere. Where it is false y is 0, and the
            gradient by x is 0 whatever is there, NaN included.
        group: the replicas; None for this process alone.
        eps: ε, in units of variance.

    Raises:
        ValueError: not more than one value per channel counts.
    """
    return Pooled(*_PooledBatchNorm.apply(x, gamma, beta, mask, group, eps))


class _PooledBatchNorm(torch.autograd.Function):
    """The formulas of the module's page; differentiable once."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, gamma, beta, mask, ctx.group, eps = args
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        weights = None if mask is None else mask.unsqueeze(1)
        if weights is not None:
            values = values.masked_fill(~weights, 0)
        mean, variance, count = _all_moments(*_moments(values, weights), ctx.group)
        if count <= 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got {int(count)} of input size "
                f"{list(x.shape)}{'' if mask is None else ' under the mask'}: one value has no variance."
            )
        deviation = torch.sqrt(variance + eps)
        x_hat = (values - _beside(mean, values)).div_(_beside(deviation, values))
        y = x_hat if gamma is None else x_hat * _beside(gamma, values)
        y = y if beta is None else y + _beside(beta, values)
        y = y if weights is None else y.masked_fill(~weights, 0)
        ctx.save_for_backward(x, gamma, mask, mean, deviation, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return y.to(x.dtype, copy=y is x_hat), mean, variance, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  (the decorator hides the name of ctx)
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, gamma, mask, mean, deviation, count = ctx.saved_tensors
        grad = grad_outputs[0].to(torch.promote_types(x.dtype, torch.float32))
        x_hat = (x.to(grad.dtype) - _beside(mean, grad)).div_(_beside(deviation, grad))
        if mask is not None:
            outside = ~mask.unsqueeze(1)
            grad, x_hat = grad.masked_fill(outside, 0), x_hat.masked_fill(outside, 0)
        sum_grad, sum_product = _sum(grad), _sum(grad * x_hat)
        means = _all_sum(torch.stack([sum_grad, sum_product]), ctx.group) / count
        by_x = grad - _beside(means[0], grad) - x_hat * _beside(means[1], grad)
        scale = 1 / deviation if gamma is None else gamma.double() / deviation
        by_x = by_x.mul_(_beside(scale, grad))
        by_x = by_x if mask is None else by_x.masked_fill(~mask.unsqueeze(1), 0)
        by_gamma = None if gamma is None else sum_product.to(gamma.dtype)
        by_beta = sum_grad if gamma is None else sum_grad.to(gamma.dtype)
        return by_x.to(x.dtype), by_gamma, by_beta if ctx.needs_input_grad[2] else None, None, None, None


def _moments(values: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, M2 (C,) and count of this process's values in float64; zeros where there are none."""
    if weights is None:
        count = values.new_tensor(values.numel() // values.size(1), dtype=torch.float64)
    else:
        count = weights.expand(values.size(0), 1, *values.shape[2:]).sum(dtype=torch.float64)
    mean = _sum(values) / count.clamp(min=1)
    centred = values - _beside(mean, values)
    if weights is not None:
        centred = centred.masked_fill(~weights, 0)
    # The mean was rounded to the values' type on its way into the difference: Σ (x − mean') = 0 no longer holds
    # exactly, and what is left is taken off M2 and put back into the mean.
    rest = _sum(centred) / count.clamp(min=1)
    return mean.to(values.dtype).double() + rest, _sum(centred.square()) - count * rest.square(), count


def _all_moments(mean: Tensor, m2: Tensor, count: Tensor, group: ProcessGroup | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, biased variance and count over all replicas: Chan, Golub, LeVeque, 1979, for any number of parts."""
    if group is not None:
        own = torch.cat([mean, m2, count.reshape(1)])
        every = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size(group))]
        torch.distributed.all_gather(every, own, group=group)
        parts = torch.stack(every)
        channels = mean.numel()
        means, m2s, counts = parts[:, :channels], parts[:, channels:-1], parts[:, -1:]
        count = counts.sum()
        mean = (means * counts).sum(0) / count.clamp(min=1)
        m2 = (m2s + counts * (means - mean).square()).sum(0)
    return mean, m2 / count.clamp(min=1), count


def _all_sum(sums: Tensor, group: ProcessGroup | None) -> Tensor:
    if group is not None:
        torch.distributed.all_reduce(sums, group=group)
    return sums


def _sum(values: Tensor) -> Tensor:
    """Return the sums per channel (C,), accumulated in the values' own type where that is the device's fast one."""
    axes = [axis for axis in range(values.dim()) if axis != 1]
    return values.sum(axes).double()


def _beside(values: Tensor, x: Tensor) -> Tensor:
    """View (C,) as (1, C, 1, …) in ``x``'s type, to stand beside ``x``."""
    return values.to(x.dtype).reshape(1, -1, *[1] * (x.dim() - 2))
