"""GridSample and AffineGrid against ONNX Runtime: every mode, every padding, in two and three dimensions."""

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
