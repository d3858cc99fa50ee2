"""A model lent out: whatever happens to it meanwhile, it comes back as it was."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """What a forward pass may change of one module: flags, which tensors it holds, and the values of its buffers."""

    module: nn.Module
    training: bool
    parameters: dict[str, nn.Parameter | None]
    buffers: dict[str, Tensor | None]
    values: dict[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> "_Snapshot":
        parameters, buffers = _tensors(module)
        values = {name: buffer.detach().clone() for name, buffer in buffers.items() if buffer is not None}
        return cls(module, module.training, dict(parameters), dict(buffers), values)

    def restore(self) -> None:
        self.module.training = self.training
        parameters, buffers = _tensors(self.module)
        parameters.clear()
        parameters.update(self.parameters)
        buffers.clear()
        buffers.update(self.buffers)
        for name, value in self.values.items():
            buffer = self.buffers[name]
            # A write that changes nothing would still invalidate autograd graphs that saved the buffer.
            if buffer is not None and not torch.equal(buffer, value):
                buffer.copy_(value)


def _tensors(module: nn.Module) -> tuple[dict[str, nn.Parameter | None], dict[str, Tensor | None]]:
    """Return the module's own registries; its public iterators hide the entries that are None."""
    return module._parameters, module._buffers  # pyright: ignore[reportPrivateUsage]  # see above


@contextmanager
def preserved(model: nn.Module) -> Generator[None]:
    """Put ``model`` in inference mode for a while, without gradients; restore it however the block ends.

    Restored: the training flag of every module (set directly: a model's own ``train()`` may do more than that), which
    tensor objects it holds, the values of its buffers, and the random number generators of torch (CPU and the model's
    GPUs), NumPy and Python. Parameters may be replaced in the block, not written to.
    """
    snapshots = [_Snapshot.of(module) for module in model.modules()]
    try:
        with _preserved_generators(model), torch.no_grad():
            for snapshot in snapshots:
                snapshot.module.training = False
            yield
    finally:
        with torch.no_grad():
            for snapshot in snapshots:
                snapshot.restore()


@contextmanager
def _preserved_generators(model: nn.Module) -> Generator[None]:
    gpus = {tensor.get_device() for tensor in model.parameters() if tensor.is_cuda}
    # The legacy global generator is the one that data pipelines draw from.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(sorted(gpus)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
