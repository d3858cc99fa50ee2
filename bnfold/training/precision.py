"""Half precision while training: autocast around the network, and a scaled loss for the short range of float16.

P. Micikevicius et al., "Mixed Precision Training", 2018. Weights, their updates, Batch Normalization's statistics and
the loss stay in float32.
"""

from contextlib import AbstractContextManager, nullcontext

import torch

from bnfold.errors import InputError
from bnfold.training.hyperparameters import Precision

_TYPES = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that the network's forward pass runs in."""
    if precision is Precision.FLOAT32:
        return nullcontext()
    return torch.autocast(device.type, _TYPES[precision])


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler | None:
    """Return what scales the loss so that small gradients do not vanish in float16; None where they do not."""
    return torch.amp.GradScaler(device.type) if precision is Precision.FP16 else None


def require_supported(precision: Precision, device: torch.device) -> None:
    """Check that the device knows the type.

    Raises:
        InputError: it does not.
    """
    if precision is Precision.BF16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError(f"precision: {torch.cuda.get_device_name(device)} has no bf16; use fp16 or float32.")
