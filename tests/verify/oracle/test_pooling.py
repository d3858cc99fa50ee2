"""Pooling of the oracle against ONNX Runtime, whose implementation is not related to it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnfold.errors import InputError
from tests.verify.oracle.nodes import by_oracle, by_runtime, normal, one_node
from tests.verify.oracle.strategies import Geometry, geometries

SINGLE = 3e-6
"""At most 27 float32 numbers of size one are summed: 27 roundings of 6e-8 each, twice."""


@settings(max_examples=80, deadline=None)
@given(geometry=geometries(dilated_same=False), ceil_mode=st.booleans())
def test_max_pool_is_that_of_the_runtime(geometry: Geometry, ceil_mode: bool) -> None:
    """Kernel, strides, dilations, pads, auto_pad and ceil mode, in one to three dimensions; no rounding is involved."""
    x = {"x": normal(2, 3, *geometry.spatial)}
    ceil: dict[str, Any] = {"ceil_mode": int(ceil_mode)} if "pads" in geometry.attributes else {}
    proto = one_node("MaxPool", x, **{**geometry.attributes, **ceil})
    np.testing.assert_array_equal(by_oracle(proto, x)[0], by_runtime(proto, x)[0])


@settings(max_examples=80, deadline=None)
@given(geometry=geometries(dilated_same=False), ceil_mode=st.booleans(), counted=st.booleans())
def test_average_pool_is_that_of_the_runtime(geometry: Geometry, ceil_mode: bool, counted: bool) -> None:
    """The same for AveragePool, with the padding counted and not: what ceil mode adds is never counted."""
    x = {"x": normal(2, 3, *geometry.spatial)}
    ceil: dict[str, Any] = {"ceil_mode": int(ceil_mode)} if "pads" in geometry.attributes else {}
    proto = one_node("AveragePool", x, opset=19, count_include_pad=int(counted), **{**geometry.attributes, **ceil})
    np.testing.assert_allclose(by_oracle(proto, x)[0], by_runtime(proto, x)[0], atol=SINGLE)


def test_indices_of_max_pool_are_refused() -> None:
    """A second output that the oracle does not compute is an error, not a missing value somewhere behind it."""
    x = {"x": normal(1, 1, 4)}
    proto = one_node("MaxPool", x, outputs=("y", "indices"), kernel_shape=[2])
    with pytest.raises(InputError, match=r"node 'node' \(MaxPool\): .* does not compute its output indices"):
        by_oracle(proto, x)
