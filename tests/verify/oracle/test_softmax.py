"""Softmax and relatives of old opsets against ONNX Runtime, which has them."""

from typing import Any

import numpy as np
import pytest

from tests.verify.oracle.nodes import by_oracle, by_runtime, normal, one_node

SINGLE = 1e-6
"""A handful of float32 roundings of numbers of size one."""


@pytest.mark.parametrize(
    ("opset", "axis"), [(opset, axis) for opset in (9, 11, 13) for axis in (None, 0, 1, 2)] + [(11, -1), (13, -1)]
)
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_has_the_meaning_of_its_opset(operator: str, axis: int | None, opset: int) -> None:
    """Below opset 13 the sum runs over all axes from the given one on, and the default axis is 1 instead of −1."""
    x = {"x": normal(2, 3, 5)}
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    proto = one_node(operator, x, opset=opset, **attributes)
    np.testing.assert_allclose(by_oracle(proto, x)[0], by_runtime(proto, x)[0], atol=SINGLE)
