"""bfloat16 in and out of ONNX Runtime, which exchanges NumPy arrays of every type but this one."""

import ctypes
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def run_with_bfloat16(
    onnxruntime: ModuleType, session: Any, outputs: Sequence[str], inputs: Mapping[str, npt.NDArray[Any]]
) -> list[npt.NDArray[Any]]:
    """Return ``outputs`` of one run of ONNX Runtime's ``session``; raises what it does."""
    fed = {name: _to_runtime(onnxruntime.OrtValue, array) for name, array in inputs.items()}
    return [_from_runtime(value) for value in session.run_with_ort_values(list(outputs), fed)]


def _to_runtime(values: Any, array: npt.NDArray[Any]) -> Any:
    if array.dtype != BFLOAT16:
        return values.ortvalue_from_numpy(array)
    bits = np.ascontiguousarray(array).view(np.uint16)
    return values.ortvalue_from_numpy_with_onnx_type(bits, ir.DataType.BFLOAT16.value)


def _from_runtime(value: Any) -> npt.NDArray[Any]:
    """Return a copy of a tensor in the processor's memory, where runs without a binding leave their outputs."""
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    shape: list[int] = value.shape()
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(bytearray(content), BFLOAT16).reshape(shape)
