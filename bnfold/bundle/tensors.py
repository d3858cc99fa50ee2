"""Tensors in safetensors, read into NumPy arrays of every type, bfloat16 too, which the library's reader lacks."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

_TYPES: dict[str, npt.DTypeLike] = {
    "BF16": ml_dtypes.bfloat16,
    "BOOL": np.bool_,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "I8": np.int8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "U8": np.uint8,
}
"""Name of a type in the file → NumPy's."""


def read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a file by name, in the file's order.

    Raises:
        ValueError: it is not a safetensors file, or holds a type that NumPy does not have.
    """
    try:
        views = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    unknown = sorted({str(view["dtype"]) for _, view in views} - _TYPES.keys())
    if unknown:
        raise ValueError(f"type {unknown[0]}")
    return {
        name: np.frombuffer(bytearray(view["data"]), _TYPES[view["dtype"]]).reshape(view["shape"])
        for name, view in views
    }
