"""Batch Normalization modules: drop-in for ``torch.nn``'s, on torch's own kernel.

While training, per channel over the m = N·∏spatial values of the minibatch (Algorithm 1, section 3; one channel is one
feature map after a convolution, section 3.2)::

    y = γ·(x − μ_B)/√(σ²_B + ε) + β        μ_B = (1/m) Σ x        σ²_B = (1/m) Σ (x − μ_B)²        (biased)

    running_mean ← (1 − α)·running_mean + α·μ_B
    running_var  ← (1 − α)·running_var + α·m/(m−1)·σ²_B                                            (unbiased)

with α = ``momentum``, or α = 1/k at the k-th minibatch for ``momentum=None``, the plain average over all of them.
In eval mode μ_B and σ²_B are replaced by the running statistics (section 3.1). ε is in units of variance.

``F.batch_norm`` computes exactly this, so it does the arithmetic here; ``bnfold.nn.reference`` has it written out. The
modules derive from torch's: the constructor, the state dict and the ``isinstance`` checks of other tools (conversion to
``SyncBatchNorm``, ``swa_utils.update_bn``) are torch's own. One thing differs: torch counts a minibatch before it looks
whether the kernel takes it, so that one refused minibatch shifts every later α of ``momentum=None``. Here a refused
minibatch leaves the module as it was.

Tools that ask for the exact class know torch's alone: ``torch.fx`` takes these modules for leaves only if its tracer is
told so, and eager-mode fusion of ``torch.ao`` wants a model that was not converted. The state dict leads back.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

BATCH_NORM_TYPES: Final[tuple[type[_BatchNorm], ...]] = (_BatchNorm,)
"""For ``isinstance``: torch's BatchNorm1d/2d/3d and SyncBatchNorm, ours, and every subclass of theirs."""


class _CountingBatchNorm(_BatchNorm):
    """The forward pass of the modules below, whose second base brings the check of the input's rank."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name, which callers may pass by keyword
        self._check_input_dim(input)
        # Every read of a parameter or buffer goes through Module.__getattr__, a cost that shows in small layers.
        training, running_mean, running_var = self.training, self.running_mean, self.running_var
        count = self.num_batches_tracked if training and self.track_running_stats else None
        if training and not self.track_running_stats:
            running_mean = running_var = None
        uses_minibatch = training or (running_mean is None and running_var is None)
        if uses_minibatch and input.numel() == input.size(1):
            raise ValueError(_one_value_per_channel(input))
        momentum = self.momentum
        if momentum is None:
            momentum = 0.0 if count is None else 1.0 / (float(count) + 1.0)
        output = functional.batch_norm(
            input, running_mean, running_var, self.weight, self.bias, uses_minibatch, momentum, self.eps
        )
        if count is not None:
            count.add_(1)
        return output


def _one_value_per_channel(values: Tensor) -> str:
    return (
        f"Expected more than 1 value per channel when training, got input size {list(values.shape)}: one value has no "
        "variance; use a larger minibatch (drop_last=True for the last one of an epoch) or running statistics (eval())."
    )


class BatchNorm1d(_CountingBatchNorm, nn.BatchNorm1d):
    """``y = γ·(x − mean)/√(variance + ε) + β`` per channel of an input (N, C) or (N, C, L).

    The minibatch is normalized by its biased variance, the running variance is unbiased; see the module's page for the
    formulas. Arguments, attributes and state dict are those of ``torch.nn.BatchNorm1d``.

    Raises:
        ValueError: the input has another rank, or one value per channel where minibatch statistics are in use.
        RuntimeError: the input has not ``num_features`` channels.
    """


class BatchNorm2d(_CountingBatchNorm, nn.BatchNorm2d):
    """``y = γ·(x − mean)/√(variance + ε) + β`` per feature map of an input (N, C, H, W).

    The minibatch is normalized by its biased variance, the running variance is unbiased; see the module's page for the
    formulas. Arguments, attributes and state dict are those of ``torch.nn.BatchNorm2d``.

    Raises:
        ValueError: the input has another rank, or one value per channel where minibatch statistics are in use.
        RuntimeError: the input has not ``num_features`` channels.
    """


class BatchNorm3d(_CountingBatchNorm, nn.BatchNorm3d):
    """``y = γ·(x − mean)/√(variance + ε) + β`` per feature map of an input (N, C, D, H, W).

    The minibatch is normalized by its biased variance, the running variance is unbiased; see the module's page for the
    formulas. Arguments, attributes and state dict are those of ``torch.nn.BatchNorm3d``.

    Raises:
        ValueError: the input has another rank, or one value per channel where minibatch statistics are in use.
        RuntimeError: the input has not ``num_features`` channels.
    """
