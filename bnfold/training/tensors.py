"""Tensors in safetensors files: written whole or not at all, read without running anything."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bnfold.errors import InputError
from bnfold.files import atomic_file, require_file


def write_tensors(path: Path, tensors: Mapping[str, object], metadata: Mapping[str, str]) -> None:
    """Write tensors, shared ones several times, and text.

    Raises:
        InputError: a value is no tensor, or the file cannot be written.
    """
    copies = {name: _own(path, name, value) for name, value in tensors.items()}
    with atomic_file(path) as temporary:
        try:
            save_file(copies, temporary, metadata=dict(metadata))
        except SafetensorError as error:
            raise InputError(f"{path}: could not be written: {error}.") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return all tensors, on the CPU, and the text of a safetensors file.

    Raises:
        InputError: missing, truncated or not a safetensors file.
    """
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  (not a mapping)
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}.") from error


def _own(path: Path, name: str, value: object) -> Tensor:
    """Return a contiguous copy: the format refuses strides, and memory that two tensors share."""
    if not isinstance(value, Tensor):
        raise InputError(f"{path}: {name} is of type {type(value).__name__}; safetensors keeps tensors only.")
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
