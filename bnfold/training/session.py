"""A training in progress: everything that an update changes, and the update itself."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnfold.data.dataset import Batch
from bnfold.errors import InputError
from bnfold.training.forward import call, device_of, to_labels, to_tensors
from bnfold.training.hyperparameters import Device, Hyperparameters, Optimizer


@dataclass(frozen=True)
class Measurement:
    """One line of ``metrics.jsonl``, taken at the end of an epoch or of the training.

    Attributes:
        step: updates done.
        epoch: passes over the data done.
        learning_rate: of the last update.
        train_loss: mean over the minibatches since the measurement before, nats.
        test_loss: mean over the test split, nats.
        test_accuracy: part of the test split, in [0, 1].
        seconds: of training and measuring so far, over all processes that took part.
    """

    step: int
    epoch: float
    learning_rate: float
    train_loss: float
    test_loss: float
    test_accuracy: float
    seconds: float


@dataclass
class Session:
    """The state between two updates.

    Attributes:
        model: in training mode, on the device.
        optimizer: of its trainable parameters.
        step: updates done.
        loss_sum: of the minibatch losses since the last measurement.
        loss_count: how many they are.
        history: all measurements.
        seconds: spent before this process took over.
        saved_step: of the checkpoint on disk; None before the first.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[Measurement] = field(default_factory=list[Measurement])
    seconds: float = 0.0
    saved_step: int | None = None

    def update(self, batch: Batch, rate: float) -> float:
        """Take one step down the gradient of the mean cross-entropy; return that loss, NaN included.

        A loss that is not finite changes no parameter: there is no direction to take.
        """
        loss = self._loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            return value
        self.optimizer.zero_grad()
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        self.loss_sum += value
        self.loss_count += 1
        return value

    def take_mean_loss(self) -> float:
        """Return the mean loss since it was taken last, and start anew."""
        mean = self.loss_sum / self.loss_count
        self.loss_sum, self.loss_count = 0.0, 0
        return mean

    def _loss(self, batch: Batch) -> Tensor:
        assert batch.labels is not None
        device = device_of(self.model)
        scores = call(self.model, to_tensors(batch.inputs, device))
        return functional.cross_entropy(scores, to_labels(batch.labels, device))


def make_optimizer(model: nn.Module, settings: Hyperparameters) -> torch.optim.Optimizer:
    """Return the optimizer over the parameters that ask for a gradient; every update sets its rate.

    Raises:
        InputError: there are none.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InputError("the model has no parameter that asks for a gradient; there is nothing to train.")
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer is Optimizer.ADAMW:
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)


def choose_device(device: Device) -> torch.device:
    """Return the device to train on.

    Raises:
        InputError: CUDA is asked for and torch finds none.
    """
    if device is Device.CUDA and not torch.cuda.is_available():
        build = torch.version.cuda or "none"
        raise InputError(f"device: no cuda here (torch {torch.__version__}, built for CUDA: {build}); use cpu or auto.")
    if device is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device.value)
