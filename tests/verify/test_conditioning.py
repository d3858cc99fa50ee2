"""A candidate that is worse conditioned than its original is not excused by it."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from bnfold.verify import Verdict, verify

TWO_LAYERS = """<ir_version: 8, opset_import: ["": 17]>
net (float[N, 6] x) => (float[N, 4] y) {
    h = Gemm (x, w1, b1)
    y = Gemm (h, w2, b2)
}"""


def write(path: Path, shift: float) -> Path:
    """Write two linear layers; ``shift`` is added to all that lies between them, and taken off again behind."""
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(6, 5)), rng.normal(size=(5, 4))
    weights = {"w1": w1, "b1": np.full(5, shift), "w2": w2, "b2": -shift * w2.sum(axis=0)}
    model = onnx.parser.parse_model(TWO_LAYERS)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()
    )
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, Verdict.EQUIVALENT), (1e5, Verdict.NOT_EQUIVALENT)])
def test_a_shift_that_drowns_the_values_is_not_equivalent(tmp_path: Path, shift: float, verdict: Verdict) -> None:
    """Rounding its weights anew moves such a graph far, which must not widen its own tolerance."""
    original, candidate = write(tmp_path / "a.onnx", 0.0), write(tmp_path / "b.onnx", shift)
    inputs = {"x": np.random.default_rng(1).normal(size=(16, 6)).astype(np.float32)}
    assert verify(original, candidate, inputs).verdict is verdict
