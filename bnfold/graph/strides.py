"""The order in memory that a module is traced with: a trace follows it, an ONNX graph has no word for it.

Behind channels-last images, say, torch restrides the result of a pooling to 1×1, which ONNX can only say by a Gather at
computed indices.
"""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn


def row_major(tensor: Tensor) -> Tensor:
    """Return a copy of the tensor with the last axis the fastest.

    A tensor with an axis of extent 1 can be contiguous and channels last at once: ``contiguous()`` would return it as
    it is.
    """
    return tensor.clone(memory_format=torch.contiguous_format)


@contextmanager
def row_major_weights(module: nn.Module) -> Generator[None]:
    """Let all parameters and buffers of a module have the last axis as the fastest; then they are what they were."""
    tensors = [tensor for tensor in chain(module.parameters(), module.buffers()) if not _is_row_major(tensor)]
    before = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.data = row_major(tensor.data)
        yield
    finally:
        for tensor, data in zip(tensors, before, strict=True):
            tensor.data = data


def _is_row_major(tensor: Tensor) -> bool:
    return tensor.stride() == torch.empty(tensor.shape, device="meta").stride()
