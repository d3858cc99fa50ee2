"""Convolutions with the channel as their innermost axis, the faster layout on CPUs, while a calibration runs."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from bnfold.population.program import Program


@contextmanager
def channels_last(program: Program) -> Generator[None]:
    """Let the 2-d convolutions of a captured model run channels-last, where they are float32 on a CPU with oneDNN.

    Their outputs are then channels-last too, and so is what is computed from these. Only rounding differs.
    """
    convolutions = [module for module in program.modules() if isinstance(module, nn.Conv2d) and _gains(module)]
    weights = [convolution.weight for convolution in convolutions]
    try:
        for convolution, weight in zip(convolutions, weights, strict=True):
            reordered = weight.detach().contiguous(memory_format=torch.channels_last)
            convolution.weight = nn.Parameter(reordered, requires_grad=False)
        yield
    finally:
        for convolution, weight in zip(convolutions, weights, strict=True):
            convolution.weight = weight


def _gains(module: nn.Conv2d) -> bool:
    # A parametrized weight is computed at every use, and cannot be set.
    weight = module._parameters.get("weight")  # pyright: ignore[reportPrivateUsage]  # there is no other way to ask
    fits = weight is not None and weight.device.type == "cpu" and weight.dtype is torch.float32
    return fits and type(module) is nn.Conv2d and torch.backends.mkldnn.is_available()
