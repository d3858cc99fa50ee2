"""DequantizeLinear of every opset against ONNX Runtime."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.verify.oracle.nodes import by_oracle, by_runtime

SINGLE = 2e-7
"""One float32 product, relative."""


def dequantization(opset: int, scale: np.ndarray, zero: np.ndarray, axis: int | None) -> onnx.ModelProto:
    """Return the graph of one node from bytes (2, 3, 4) to real numbers."""
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    node = helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["y"], name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [2, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 4])],
        [onnx.numpy_helper.from_array(scale, "scale"), onnx.numpy_helper.from_array(zero, "zero")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize(("opset", "axis"), [(10, None), (13, None), (13, 0), (13, 2), (17, 1), (19, 1), (21, -1)])
def test_bytes_become_numbers(opset: int, axis: int | None) -> None:
    """One scale and zero point for all, or one per index along an axis, all of them different."""
    count = 1 if axis is None else (2, 3, 4)[axis]
    shape = () if axis is None else (count,)
    scale = np.linspace(0.03, 0.2, count, dtype=np.float32).reshape(shape)
    zero = np.arange(7, 7 + count, dtype=np.uint8).reshape(shape)
    x = {"x": np.random.default_rng(0).integers(0, 256, (2, 3, 4), dtype=np.uint8)}
    proto = dequantization(opset, scale, zero, axis)
    np.testing.assert_allclose(by_oracle(proto, x)[0], by_runtime(proto, x)[0], rtol=SINGLE)
