"""Upsample and the first Resize of the oracle against ONNX Runtime, which has them."""

import numpy as np
import pytest

from tests.verify.oracle.nodes import by_oracle, by_runtime, normal, one_node

SINGLE = 1e-6
"""Four float32 products of numbers of size one and their sum, at positions rounded to 6e-8 of an extent of five."""


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(mode: str, opset: int) -> None:
    """Factors in an attribute and in an input, another one for each axis."""
    x = {"x": normal(2, 3, 5, 4)}
    factors = np.array([1, 1, 2, 3], np.float32)
    if opset == 7:
        proto = one_node("Upsample", x, opset=7, mode=mode, scales=factors.tolist())
    else:
        x["factors"] = factors
        proto = one_node("Upsample", x, opset=9, mode=mode)
    np.testing.assert_allclose(by_oracle(proto, x)[0], by_runtime(proto, x)[0], atol=SINGLE)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("factors", [(1, 1, 2, 3), (1, 1, 0.6, 0.5), (1, 1, 1.6, 2.5), (1, 1, 0.9, 1)])
def test_the_first_resize(mode: str, factors: tuple[float, ...]) -> None:
    """Larger and smaller, by whole and by other factors: extents are rounded down, positions start at the corner."""
    x = {"x": normal(2, 3, 5, 4), "factors": np.array(factors, np.float32)}
    proto = one_node("Resize", x, opset=10, mode=mode)
    expected = by_runtime(proto, x)[0]
    found = by_oracle(proto, x)[0]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=SINGLE)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("factors", [(1, 1, 2, 3), (1, 1, 0.7, 0.5), (1, 1, 1.5, 2.5)])
def test_corners_are_those_of_whole_extents(mode: str, factors: tuple[float, ...]) -> None:
    """Nine samples times 1.5 are thirteen, the last of which lies on the last."""
    x = {"x": normal(2, 3, 10, 9), "roi": np.zeros(0, np.float32), "factors": np.array(factors, np.float32)}
    proto = one_node("Resize", x, opset=13, mode=mode, coordinate_transformation_mode="align_corners")
    expected = by_runtime(proto, x)[0]
    found = by_oracle(proto, x)[0]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=SINGLE, atol=4 * SINGLE)
