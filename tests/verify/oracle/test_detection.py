"""Heads of detectors: which boxes are kept, and what lies in regions, against ONNX Runtime and at real sizes."""

import time
from typing import Any

import numpy as np
import pytest

from tests.verify.oracle.nodes import by_oracle, by_runtime, normal, one_node


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("threshold", [None, 0.4])
def test_boxes_that_are_kept(center: int, threshold: float | None) -> None:
    """The same boxes in the same order, corners in any order, with and without a least score."""
    inputs: dict[str, Any] = {
        "boxes": np.abs(normal(2, 60, 4)),
        "scores": np.abs(normal(2, 3, 60, seed=1)),
        "most": np.array([7]),
        "overlap": np.array([0.3], np.float32),
    }
    if threshold is not None:
        inputs["least"] = np.array([threshold], np.float32)
    proto = one_node("NonMaxSuppression", inputs, opset=11, center_point_box=center)
    proto.graph.output[0].type.tensor_type.elem_type = 7
    del proto.graph.output[0].type.tensor_type.shape.dim[2:]
    (ours,), (theirs,) = by_oracle(proto, inputs), by_runtime(proto, inputs)
    np.testing.assert_array_equal(ours, theirs)


def test_boxes_of_a_real_detector_take_no_minutes() -> None:
    """8,400 boxes of 20 classes: the reference takes pairs one by one."""
    inputs: dict[str, Any] = {
        "boxes": np.abs(normal(1, 8400, 4)),
        "scores": np.abs(normal(1, 20, 8400, seed=1)),
        "most": np.array([100]),
        "overlap": np.array([0.5], np.float32),
    }
    proto = one_node("NonMaxSuppression", inputs, opset=11)
    start = time.perf_counter()
    (kept,) = by_oracle(proto, inputs)
    assert len(kept) > 20
    assert time.perf_counter() - start < 20


REGIONS = np.array([[0, 0, 7, 7], [1, 2, 9, 6], [3, 3, 20, 12.5], [-3, -2, 4, 4], [5, 5, 5, 5]], np.float32)


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize(
    ("opset", "attributes"), [(10, {}), (16, {}), (16, {"coordinate_transformation_mode": "output_half_pixel"})]
)
def test_regions(opset: int, attributes: dict[str, Any], mode: str, ratio: int) -> None:
    """Within the map, beyond its edges, and without extent; below opset 16 there is no half pixel."""
    inputs = {"x": normal(2, 3, 16, 14), "rois": REGIONS, "batch": np.array([0, 1, 1, 0, 1])}
    shape = {"output_height": 4, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": 0.5}
    proto = one_node("RoiAlign", inputs, opset=opset, mode=mode, **shape, **attributes)
    (ours,), (theirs,) = by_oracle(proto, inputs), by_runtime(proto, inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
