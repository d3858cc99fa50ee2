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

Three keyword arguments go beyond torch's; without them nothing differs from the above. They change what counts as "the
minibatch" in training mode (`bnfold.nn.pooled` has the formulas, `bnfold.nn.virtual` how it is cut):

- ``process_group``: the values of all replicas, processes of a group, pooled exactly by their counts. ``"world"`` means
  all processes of torch.distributed and, unlike a group, can be copied and pickled; until torch.distributed is
  initialized, and in a world of one, it has no effect. Every replica has to make the same calls.
- ``virtual_batch_size``: each of ⌊N/virtual_batch_size⌋ parts of the minibatch by itself. The running statistics are
  those of the whole minibatch all the same.
- ``forward(input, mask)``: only where ``mask`` (N, …), booleans, is true: padding counts in no statistic and gets
  no gradient. Where it is false the output is 0, in eval mode too, whatever the input is there.

Statistics of a minibatch are float32 or wider, for float16 and bfloat16 inputs too, with and without autocast; the
running ones are kept in the type of their buffers.

Tools that ask for the exact class know torch's alone: ``torch.fx`` takes these modules for leaves only if its tracer is
told so, and eager-mode fusion of ``torch.ao`` wants a model that was not converted. The state dict leads back.
"""

import inspect
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.nn.pooled import Pooled, pooled_batch_norm
from bnfold.nn.virtual import virtual_batch_norm

Replicas = ProcessGroup | Literal["world"] | None
"""Over which processes statistics are pooled; see the module's page."""

BATCH_NORM_TYPES: Final[tuple[type[_BatchNorm], ...]] = (_BatchNorm,)
"""For ``isinstance``: torch's BatchNorm1d/2d/3d and SyncBatchNorm, ours, and every subclass of theirs."""


_KEYWORDS: Final = ("process_group", "virtual_batch_size")


class BatchNorm(_BatchNorm):
    """What the modules below have in common; their second base brings the check of the input's rank."""

    # On the class, so that a module of torch's becomes one of ours by its class alone (`bnfold.nn.convert`).
    process_group: Replicas = None
    virtual_batch_size: int | None = None

    def __init__(
        self, *args: Any, process_group: Replicas = None, virtual_batch_size: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.pool(process_group=process_group, virtual_batch_size=virtual_batch_size)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the constructor's arguments: torch's, whichever this torch knows, and the two of ours."""
        super().__init_subclass__(**kwargs)
        own = [inspect.signature(BatchNorm.__init__).parameters[name] for name in _KEYWORDS]
        torchs = inspect.signature(_BatchNorm)
        cls.__signature__ = torchs.replace(parameters=[*torchs.parameters.values(), *own])

    def pool(self, *, process_group: Replicas = None, virtual_batch_size: int | None = None) -> None:
        """Set what counts as the minibatch, as the constructor does.

        Raises:
            ValueError: both are given, or ``virtual_batch_size`` is below 1.
        """
        if process_group is not None and virtual_batch_size is not None:
            raise ValueError("process_group pools minibatches, virtual_batch_size cuts them: choose one.")
        if virtual_batch_size is not None and virtual_batch_size < 1:
            raise ValueError(f"virtual_batch_size: expected at least 1 sample, got {virtual_batch_size}.")
        self.process_group, self.virtual_batch_size = process_group, virtual_batch_size

    def extra_repr(self) -> str:
        """Return torch's text, and what was set beyond it."""
        virtual = "" if self.virtual_batch_size is None else f", virtual_batch_size={self.virtual_batch_size}"
        return f"{super().extra_repr()}{virtual}{'' if self.process_group is None else ', synchronized'}"

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: A002 - torch's name
        """Return the normalized input; with a ``mask`` (N, *spatial), 0 where it is false."""
        self._check_input_dim(input)
        # Every read of a parameter or buffer goes through Module.__getattr__, a cost that shows in small layers.
        training, running_mean, running_var = self.training, self.running_mean, self.running_var
        uses_minibatch = training or (running_mean is None and running_var is None)
        if mask is not None:
            return self._masked(input, mask, uses_minibatch=uses_minibatch)
        if uses_minibatch and (self.virtual_batch_size is not None or _group(self.process_group) is not None):
            return self._pooled(input, None)
        count = self.num_batches_tracked if training and self.track_running_stats else None
        if training and not self.track_running_stats:
            running_mean = running_var = None
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

    def _masked(self, values: Tensor, mask: Tensor, *, uses_minibatch: bool) -> Tensor:
        expected = (values.size(0), *values.shape[2:])
        if mask.dtype != torch.bool or mask.shape != expected:
            raise ValueError(
                f"mask: expected booleans {list(expected)}, one for each position of an input {list(values.shape)}, "
                f"got {str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}."
            )
        if uses_minibatch:
            return self._pooled(values, mask)
        outside = ~mask.unsqueeze(1)
        # Filled before as well: the gradient of what is NaN there would be NaN, not 0.
        normalized = functional.batch_norm(
            values.masked_fill(outside, 0), self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
        return normalized.masked_fill(outside, 0)

    def _pooled(self, values: Tensor, mask: Tensor | None) -> Tensor:
        if self.virtual_batch_size is None:
            group = _group(self.process_group)
            made = pooled_batch_norm(values, self.weight, self.bias, mask=mask, group=group, eps=self.eps)
        else:
            size = self.virtual_batch_size
            made = virtual_batch_norm(values, self.weight, self.bias, mask=mask, size=size, eps=self.eps)
        if self.training and self.track_running_stats:
            self._track(made)
        return made.y

    def _track(self, made: Pooled) -> None:
        running_mean, running_var, count = self.running_mean, self.running_var, self.num_batches_tracked
        assert running_mean is not None
        assert running_var is not None
        assert count is not None
        momentum = 1.0 / (float(count) + 1.0) if self.momentum is None else self.momentum
        unbiased = made.variance * (made.m / (made.m - 1))
        with torch.no_grad():
            running_mean.lerp_(made.mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
            count.add_(1)


def _group(replicas: Replicas) -> ProcessGroup | None:
    if replicas != "world":
        return replicas
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    group = torch.distributed.group.WORLD if distributed else None
    return None if group is None or torch.distributed.get_world_size(group) == 1 else group


def _one_value_per_channel(values: Tensor) -> str:
    return (
        f"Expected more than 1 value per channel when training, got input size {list(values.shape)}: one value has no "
        "variance; use a larger minibatch (drop_last=True for the last one of an epoch) or running statistics (eval())."
    )


class BatchNorm1d(BatchNorm, nn.BatchNorm1d):
    """``y = γ·(x − mean)/√(variance + ε) + β`` per channel of an input (N, C) or (N, C, L).

    The minibatch is normalized by its biased variance, the running variance is unbiased; see the module's page for the
    formulas. Arguments, attributes and state dict are those of ``torch.nn.BatchNorm1d``; beyond them, by keyword only,
    ``process_group`` pools statistics over replicas, ``virtual_batch_size`` takes them over parts of the minibatch, and
    ``forward`` takes a ``mask`` of the positions that count.

    Raises:
        ValueError: the input has another rank, one value per channel where minibatch statistics are in use, a mask that
            does not fit, or both keywords together.
        RuntimeError: the input has not ``num_features`` channels.
    """


class BatchNorm2d(BatchNorm, nn.BatchNorm2d):
    """``y = γ·(x − mean)/√(variance + ε) + β`` per feature map of an input (N, C, H, W).

    The minibatch is normalized by its biased variance, the running variance is unbiased; see the module's page for the
    formulas. Arguments, attributes and state dict are those of ``torch.nn.BatchNorm2d``; beyond them, by keyword only,
    ``process_group`` pools statistics over replicas, ``virtual_batch_size`` takes them over parts of the minibatch, and
    ``forward`` takes a ``mask`` of the positions that count.

    Raises:
        ValueError: the input has another rank, one value per channel where minibatch statistics are in use, a mask that
            does not fit, or both keywords together.
        RuntimeError: the input has not ``num_features`` channels.
    """


class BatchNorm3d(BatchNorm, nn.BatchNorm3d):
    """``y = γ·(x − mean)/√(variance + ε) + β`` per feature map of an input (N, C, D, H, W).

    The minibatch is normalized by its biased variance, the running variance is unbiased; see the module's page for the
    formulas. Arguments, attributes and state dict are those of ``torch.nn.BatchNorm3d``; beyond them, by keyword only,
    ``process_group`` pools statistics over replicas, ``virtual_batch_size`` takes them over parts of the minibatch, and
    ``forward`` takes a ``mask`` of the positions that count.

    Raises:
        ValueError: the input has another rank, one value per channel where minibatch statistics are in use, a mask that
            does not fit, or both keywords together.
        RuntimeError: the input has not ``num_features`` channels.
    """
