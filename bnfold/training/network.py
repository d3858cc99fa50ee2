"""From a model's source to a session that is ready for its first update."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bnfold.errors import InputError
from bnfold.nn import BATCH_NORM_TYPES, convert
from bnfold.nn.batch_norm import BatchNorm
from bnfold.training.hyperparameters import Device, Hyperparameters, Optimizer
from bnfold.training.losses import Loss
from bnfold.training.models import ModelSource
from bnfold.training.precision import make_scaler, require_supported
from bnfold.training.replicas import Replicas, local_rank_of_this_process, processes
from bnfold.training.session import Session
from bnfold.training.weights import load_weights

# Buffers are statistics over all processes and so are equal already; torch has renamed the option.
_SYNC_BUFFERS: Final = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


def make_session(
    source: ModelSource, settings: Hyperparameters, loss: Loss, replicas: Replicas, weights: Path | None = None
) -> Session:
    """Return a session at step 0; its weights come from a file or else from torch's random state.

    Raises:
        InputError: the model cannot be built, does not fit ``weights``, has nothing to train, or a Batch Normalization
            that cannot be synchronized.
    """
    device = replicas.device
    require_supported(settings.precision, device)
    model = source.build()
    if weights is not None:
        load_weights(model, weights)
    model = model.to(device).train()
    if settings.channels_last:
        _lay_channels_last(model)
    if replicas.size > 1:
        model = _synchronized(model)
    return Session(
        model,
        make_optimizer(model, settings),
        loss=loss,
        replicas=replicas,
        precision=settings.precision,
        scaler=make_scaler(settings.precision, device),
        clip_norm=settings.clip_norm,
        channels_last=settings.channels_last,
        network=_network(model, settings, replicas),
    )


def _lay_channels_last(model: nn.Module) -> None:
    """Lay out weights (O, I, H, W) as images will be; `Module.to` refuses a model that has weights of five axes too."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _synchronized(model: nn.Module) -> nn.Module:
    """Return the model with statistics over all processes."""
    model = convert(model, process_group="world")
    for name, module in model.named_modules():
        if isinstance(module, BATCH_NORM_TYPES) and not isinstance(module, BatchNorm | nn.SyncBatchNorm):
            raise InputError(
                f"{name}: {type(module).__name__} takes its statistics in each process by itself; use torch.nn's or "
                "bnfold.nn's BatchNorm, or train in one process."
            )
    return model


def _network(model: nn.Module, settings: Hyperparameters, replicas: Replicas) -> nn.Module | None:
    """Return what is called in place of the model; None for the model itself."""
    network = model
    if settings.compile:
        compiled = torch.compile(network)
        assert isinstance(compiled, nn.Module)
        network = compiled
    if replicas.size > 1:
        options: dict[str, Any] = {_SYNC_BUFFERS: False}
        options["device_ids"] = [replicas.device] if replicas.device.type == "cuda" else None
        network = DistributedDataParallel(network, **options)
    return None if network is model else network


def make_optimizer(model: nn.Module, settings: Hyperparameters) -> torch.optim.Optimizer:
    """Return the optimizer over the parameters that ask for a gradient; every update sets its rate.

    Raises:
        InputError: there are none.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InputError("the model has no parameter that asks for a gradient; there is nothing to train.")
    rate, decay, fused = settings.learning_rate, settings.weight_decay, _can_fuse(model, parameters)
    if settings.optimizer is Optimizer.ADAMW:
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=fused)
    return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay, fused=fused)


def _can_fuse(model: nn.Module, parameters: Sequence[nn.Parameter]) -> bool:
    """Tell whether torch can update all parameters in one kernel, in a quarter of the time.

    It has none for complex numbers and sparse gradients.
    """
    sparse = any(isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse for module in model.modules())
    return not sparse and all(parameter.is_floating_point() for parameter in parameters)


def choose_device(device: Device) -> torch.device:
    """Return the device to train on.

    Raises:
        InputError: CUDA is asked for and torch finds none.
    """
    if device is Device.CUDA and not torch.cuda.is_available():
        build = torch.version.cuda or "none"
        raise InputError(f"device: no cuda here (torch {torch.__version__}, built for CUDA: {build}); use cpu or auto.")
    name = device.value if device is not Device.AUTO else "cuda" if torch.cuda.is_available() else "cpu"
    return (
        torch.device(name, local_rank_of_this_process()) if name == "cuda" and processes() > 1 else torch.device(name)
    )
