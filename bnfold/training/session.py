"""A training in progress: everything that an update changes, and the update itself."""

import gc
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bnfold.training.forward import call, device_of, to_labels, to_tensors, widened
from bnfold.training.hyperparameters import Precision
from bnfold.training.losses import Loss
from bnfold.training.precision import autocast
from bnfold.training.record import Measurement
from bnfold.training.replicas import Replicas
from bnfold.training.shares import Share


@dataclass
class Session:
    """The state between two updates.

    Attributes:
        model: in training mode, on the device.
        optimizer: of its trainable parameters.
        loss: what is descended.
        replicas: the processes that train together.
        precision: of the forward pass.
        scaler: of the loss, for float16.
        clip_norm: the largest norm of the gradient; None for any.
        channels_last: how images lie in memory.
        network: what is called in place of the model: compiled, or one of several replicas.
        step: updates done.
        loss_sum: of the minibatch losses since the last measurement.
        loss_count: how many they are.
        history: all measurements.
        seconds: spent before this process took over.
        saved_step: of the checkpoint on disk; None before the first.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss = field(default_factory=Loss)
    replicas: Replicas = field(default_factory=Replicas)
    precision: Precision = Precision.FLOAT32
    scaler: torch.amp.GradScaler | None = None
    clip_norm: float | None = None
    channels_last: bool = False
    network: nn.Module | None = None
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[Measurement] = field(default_factory=list[Measurement])
    seconds: float = 0.0
    saved_step: int | None = None

    def update(self, shares: Sequence[Share], rate: float) -> float:
        """Take one step down the gradient of the mean loss; return that loss, NaN included.

        The shares' gradients add up, over processes too, to that of the whole minibatch. A loss that is not finite
        changes no parameter: there is no direction to take.
        """
        self.optimizer.zero_grad()
        value = self._accumulate(shares)
        if not math.isfinite(value):
            return value
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._move()
        self.step += 1
        self.loss_sum += value
        self.loss_count += 1
        return value

    def take_mean_loss(self) -> float | None:
        """Return the mean loss since it was taken last, None without an update, and start anew."""
        mean = self.loss_sum / self.loss_count if self.loss_count else None
        self.loss_sum, self.loss_count = 0.0, 0
        return mean

    def close(self) -> None:
        """Let go of the replicas' network, before the process group goes.

        DistributedDataParallel's C++ part holds the group too. Were it the last to do so, gloo's destructor would run
        with Python's lock held and wait for a thread that waits for that lock: a deadlock, seen with torch 2.13.
        """
        if self.network is not None:
            self.network = None
            gc.collect()  # the module is part of reference cycles

    def _accumulate(self, shares: Sequence[Share]) -> float:
        """Add every share's gradient to the parameters'; return the mean loss over all processes."""
        values: list[Tensor] = []
        for place, share in enumerate(shares):
            with self._exchange(last=place == len(shares) - 1):
                loss = self._loss(share)
                values.append(loss.detach() if share.weight == 1 else loss.detach() * share.weight)
                # Replicas' gradients are averaged, where the shares' weights want a sum.
                factor = share.weight * self.replicas.size
                loss = loss if factor == 1 else loss * factor
                (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        # Each operation on a scalar costs as much as one on a small layer.
        mean = values[0] if len(values) == 1 else torch.stack(values).sum()
        return float(mean if self.replicas.size == 1 else self.replicas.sum(mean))

    def _exchange(self, *, last: bool) -> AbstractContextManager[object]:
        """Let replicas exchange gradients after the last share only."""
        return (
            nullcontext() if last or not isinstance(self.network, DistributedDataParallel) else self.network.no_sync()
        )

    def _loss(self, share: Share) -> Tensor:
        labels = share.batch.labels
        assert labels is not None
        device = device_of(self.model)
        inputs = to_tensors(share.batch.inputs, device, channels_last=self.channels_last)
        with autocast(self.precision, device):
            # Not `or`: a compiled network asks the model for its length, which few have.
            outputs = call(self.model if self.network is None else self.network, inputs)
        return self.loss(widened(outputs), to_labels(labels, device))

    def _move(self) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        if self.scaler is None:
            self.optimizer.step()
            return
        # An overflow in float16 is no divergence: the scaler leaves this step out and takes a smaller scale.
        self.scaler.step(self.optimizer)
        self.scaler.update()
