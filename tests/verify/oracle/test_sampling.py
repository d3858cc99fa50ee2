"""GridSample, AffineGrid and DeformConv against ONNX Runtime: every mode, every padding."""

import numpy as np
import pytest

from tests.verify.oracle.nodes import by_oracle, by_runtime, normal, one_node


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grids(mode: str, padding: str, aligned: int) -> None:
    """Points within and far beyond the image."""
    inputs = {"x": normal(2, 3, 7, 5), "grid": normal(2, 4, 6, 2, seed=1)}
    proto = one_node("GridSample", inputs, opset=20, mode=mode, padding_mode=padding, align_corners=aligned)
    (ours,), (theirs,) = by_oracle(proto, inputs), by_runtime(proto, inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_volumes() -> None:
    """The last axis of a grid counts from the last spatial axis on, also where there are three."""
    inputs = {"x": normal(1, 2, 4, 5, 6), "grid": normal(1, 2, 3, 4, 3, seed=1) / 2}
    proto = one_node("GridSample", inputs, opset=20)
    (ours,), (theirs,) = by_oracle(proto, inputs), by_runtime(proto, inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("aligned", [0, 1])
def test_affine_grids(aligned: int) -> None:
    """In two dimensions, by θ."""
    inputs = {"theta": normal(2, 2, 3), "size": np.array([2, 1, 4, 5])}
    proto = one_node("AffineGrid", inputs, opset=20, align_corners=aligned)
    proto.graph.output[0].type.tensor_type.shape.dim.add()
    (ours,), (theirs,) = by_oracle(proto, inputs), by_runtime(proto, inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("group", "offset_group"), [(1, 1), (2, 1), (1, 2), (2, 4)])
def test_deformed_convolutions(group: int, offset_group: int, masked: bool) -> None:
    """Groups of either kind, with and without a mask, uneven strides, pads and dilations; points beyond the image."""
    operands = {
        "x": normal(2, 4, 7, 9),
        "w": normal(6, 4 // group, 2, 3, seed=1),
        "offset": 2 * normal(2, offset_group * 2 * 3 * 2, 3, 7, seed=2),
        "b": normal(6, seed=3),
    }
    if masked:
        operands["mask"] = normal(2, offset_group * 2 * 3, 3, 7, seed=4)
    proto = one_node(
        "DeformConv",
        operands,
        opset=19,
        group=group,
        offset_group=offset_group,
        strides=[3, 1],
        pads=[1, 0, 2, 2],
        dilations=[2, 2],
    )
    (ours,), (theirs,) = by_oracle(proto, operands), by_runtime(proto, operands)
    assert ours.shape == (2, 6, 3, 7)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_convolution_that_is_not_deformed() -> None:
    """Without offsets it is a convolution, also of an image one pixel high."""
    x, weight = normal(2, 4, 1, 9), normal(6, 2, 1, 3, seed=1)
    operands = {"x": x, "w": weight, "offset": np.zeros((2, 6, 1, 9), np.float32)}
    (deformed,) = by_oracle(one_node("DeformConv", operands, opset=19, group=2, pads=[0, 1, 0, 1]), operands)
    operands.pop("offset")
    (plain,) = by_oracle(one_node("Conv", operands, group=2, pads=[0, 1, 0, 1]), operands)
    np.testing.assert_allclose(deformed, plain, rtol=1e-13, atol=1e-13)
