"""Convolutions of the oracle against onnx's reference, and the transposed one as the adjoint of the plain one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnfold.verify.oracle import linear
from bnfold.verify.oracle.linear import conv, conv_transpose
from tests.verify.oracle.nodes import by_oracle, by_reference, normal, one_node
from tests.verify.oracle.strategies import Geometry, geometries

GROUPS = st.sampled_from([(1, 3, 2), (2, 4, 6), (4, 4, 4), (3, 3, 6)])
"""Groups, input and output channels: plain, grouped, depthwise, depthwise with a multiplier."""

SUM_OF_PRODUCTS = 1e-12
"""Two orders of at most a few hundred products of size one differ by no more, in double."""


@settings(max_examples=80)
@given(geometry=geometries(), groups=GROUPS, biased=st.booleans())
def test_conv_is_that_of_the_reference(geometry: Geometry, groups: tuple[int, int, int], biased: bool) -> None:
    """Every attribute of Conv, in one to three dimensions, means what onnx's reference says."""
    group, channels, outputs = groups
    operands = {"x": normal(2, channels, *geometry.spatial), "w": normal(outputs, channels // group, *geometry.kernel)}
    if biased:
        operands["b"] = normal(outputs)
    proto = one_node("Conv", operands, group=group, **geometry.attributes)
    np.testing.assert_allclose(by_oracle(proto, operands)[0], by_reference(proto, operands)[0], atol=SUM_OF_PRODUCTS)


@pytest.mark.parametrize("block", [1, 100, 1000])
def test_blocks_leave_no_seam(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gathered a row at a time or many, with a last block that is not full, the result is the same."""
    x, weight = normal(2, 6, 7, 5).astype(np.float64), normal(4, 3, 3, 2).astype(np.float64)
    whole = conv(x, weight, group=2, pads=[1, 0, 1, 1])
    monkeypatch.setattr(linear, "BLOCK", block)
    np.testing.assert_allclose(conv(x, weight, group=2, pads=[1, 0, 1, 1]), whole, atol=SUM_OF_PRODUCTS)


def test_no_samples_no_work() -> None:
    """A batch of none has a result of none, of the right shape."""
    assert conv(np.zeros((0, 4, 5)), np.zeros((6, 2, 3)), group=2).shape == (0, 6, 3)
    assert conv_transpose(np.zeros((0, 4, 5)), np.zeros((4, 3, 2)), group=2).shape == (0, 6, 6)


@settings(max_examples=60)
@given(geometry=geometries(auto=False), groups=GROUPS)
def test_conv_transpose_is_the_adjoint_of_conv(geometry: Geometry, groups: tuple[int, int, int]) -> None:
    """⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ for all x and y, which fixes every element of the transposed convolution."""
    group, channels, outputs = groups
    window = {name: value for name, value in geometry.attributes.items() if name != "kernel_shape"}
    x = normal(2, channels, *geometry.spatial).astype(np.float64)
    weight = normal(outputs, channels // group, *geometry.kernel, seed=1).astype(np.float64)
    forward = conv(x, weight, group=group, **window)
    y = np.random.default_rng(2).standard_normal(forward.shape)
    # What a stride leaves over at the far end is not seen by conv, and is output padding to its adjoint.
    back = conv_transpose(
        y, weight, group=group, output_shape=None, output_padding=_unseen(geometry, y.shape), **window
    )
    assert back.shape == x.shape
    assert np.vdot(forward, y) == pytest.approx(np.vdot(x, back), abs=SUM_OF_PRODUCTS * y.size)


def test_conv_transpose_adds_its_bias_by_output_channel() -> None:
    """The bias is one number an output channel, over all groups."""
    x, weight, bias = np.zeros((2, 4, 3)), np.ones((4, 3, 2)), np.arange(6.0)
    y = conv_transpose(x, weight, bias, group=2)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[None, :, None], (2, 6, 4)))


def _unseen(geometry: Geometry, shape: tuple[int, ...]) -> list[int]:
    attributes, rank = geometry.attributes, len(geometry.spatial)
    extents = [(k - 1) * d + 1 for k, d in zip(geometry.kernel, attributes["dilations"], strict=True)]
    pads = attributes["pads"]
    padded = [size + pads[axis] + pads[rank + axis] for axis, size in enumerate(geometry.spatial)]
    reached = [(out - 1) * s + e for out, s, e in zip(shape[2:], attributes["strides"], extents, strict=True)]
    return [size - reach for size, reach in zip(padded, reached, strict=True)]
