"""Virtual ("ghost") batches: parts of a minibatch that are each normalized by their own statistics.

E. Hoffer, I. Hubara, D. Soudry, "Train longer, generalize better", 2017, section 4: a large minibatch keeps the noise,
and with it the regularization, of small ones.
"""

import torch
from torch import Tensor
from torch.nn import functional

from bnfold.nn.pooled import Pooled, pooled_batch_norm


def virtual_batch_norm(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, *, mask: Tensor | None, size: int, eps: float
) -> Pooled:
    """Normalize ``x`` (N, C, *spatial) in ⌊N/size⌋ virtual batches, at least one, of consecutive samples.

    Their sizes differ by at most one, so that a rest is spread over them: each has at least ``size`` samples, fewer
    than 2·``size``, and none is normalized by the few values of a remainder. The moments that come back are those of
    the whole minibatch: what inference needs does not depend on how it was cut.

    Arguments, shapes and errors are those of `pooled_batch_norm`.
    """
    parts = max(1, len(x) // size)
    masks = [None] * parts if mask is None else mask.tensor_split(parts)
    return merged(
        [_normalize(part, gamma, beta, own, eps) for part, own in zip(x.tensor_split(parts), masks, strict=True)]
    )


def merged(parts: list[Pooled]) -> Pooled:
    """Return outputs side by side, and moments merged by Chan's formula."""
    counts = torch.stack([part.m for part in parts]).unsqueeze(1)
    means = torch.stack([part.mean for part in parts])
    variances = torch.stack([part.variance for part in parts])
    count = counts.sum()
    mean = (counts * means).sum(0) / count
    variance = (counts * (variances + (means - mean).square())).sum(0) / count
    return Pooled(torch.cat([part.y for part in parts]), mean, variance, count)


def _normalize(x: Tensor, gamma: Tensor | None, beta: Tensor | None, mask: Tensor | None, eps: float) -> Pooled:
    if mask is not None:
        return pooled_batch_norm(x, gamma, beta, mask=mask, group=None, eps=eps)
    m = x.numel() // x.size(1)
    if m <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(x.shape)}.")
    # With α = 1 torch's kernel leaves the minibatch's own mean and unbiased variance in the running buffers.
    wide = torch.promote_types(x.dtype, torch.float32)
    mean, unbiased = x.new_zeros(x.size(1), dtype=wide), x.new_zeros(x.size(1), dtype=wide)
    y = functional.batch_norm(x, mean, unbiased, gamma, beta, training=True, momentum=1.0, eps=eps)
    return Pooled(y, mean.double(), unbiased.double() * ((m - 1) / m), x.new_tensor(m, dtype=torch.float64))
