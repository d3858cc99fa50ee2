"""Pooling of the oracle against ONNX Runtime, whose implementation is not related to it."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verify.oracle.nodes import by_oracle, by_runtime, normal, one_node
from tests.verify.oracle.strategies import Geometry, geometries

SINGLE = 3e-6
"""At most 27 float32 numbers of size one are summed: 27 roundings of 6e-8 each, twice."""


@settings(max_examples=80)
@given(geometry=geometries(dilated_same=False), ceil_mode=st.booleans())
def test_max_pool_is_that_of_the_runtime(geometry: Geometry, ceil_mode: bool) -> None:
    """Kernel, strides, dilations, pads, auto_pad and ceil mode, in one to three dimensions; no rounding is involved."""
    x = {"x": normal(2, 3, *geometry.spatial)}
    ceil: dict[str, Any] = {"ceil_mode": int(ceil_mode)} if "pads" in geometry.attributes else {}
    proto = one_node("MaxPool", x, **{**geometry.attributes, **ceil})
    np.testing.assert_array_equal(by_oracle(proto, x)[0], by_runtime(proto, x)[0])


@settings(max_examples=80)
@given(geometry=geometries(dilated_same=False), ceil_mode=st.booleans(), counted=st.booleans())
def test_average_pool_is_that_of_the_runtime(geometry: Geometry, ceil_mode: bool, counted: bool) -> None:
    """The same for AveragePool, with the padding counted and not: what ceil mode adds is never counted."""
    x = {"x": normal(2, 3, *geometry.spatial)}
    ceil: dict[str, Any] = {"ceil_mode": int(ceil_mode)} if "pads" in geometry.attributes else {}
    proto = one_node("AveragePool", x, opset=19, count_include_pad=int(counted), **{**geometry.attributes, **ceil})
    np.testing.assert_allclose(by_oracle(proto, x)[0], by_runtime(proto, x)[0], atol=SINGLE)


@settings(max_examples=40)
@given(geometry=geometries(dilated_same=False), column_major=st.booleans())
def test_indices_of_max_pool_are_those_of_the_runtime(geometry: Geometry, column_major: bool) -> None:
    """Where each maximum was, flattened in either order; of equal numbers the first."""
    x = {"x": np.round(normal(2, 3, *geometry.spatial))}  # whole numbers: many maxima are found twice
    order: dict[str, Any] = {"storage_order": int(column_major)} if len(geometry.spatial) == 2 else {}
    proto = one_node("MaxPool", x, outputs=("y", "indices"), **{**geometry.attributes, **order})
    proto.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    for found, expected in zip(by_oracle(proto, x), by_runtime(proto, x), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("operator", ["GlobalMaxPool", "GlobalAveragePool"])
@pytest.mark.parametrize("spatial", [(5,), (5, 4), (5, 4, 3)])
def test_global_pooling_in_every_rank(operator: str, spatial: tuple[int, ...]) -> None:
    """All spatial axes become one, however many there are."""
    x = {"x": normal(2, 3, *spatial)}
    proto = one_node(operator, x)
    found, expected = by_oracle(proto, x)[0], by_runtime(proto, x)[0]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=SINGLE)
