"""Tests of ``bnfold.export.golden``: every sample once, whatever the graph's batch and inputs."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from bnfold.errors import InputError
from bnfold.export.golden import compute_golden


def model(signature: str, body: str) -> ir.Model:
    """Return a graph."""
    return ir.from_proto(parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {signature} {{ {body} }}'))


@pytest.mark.parametrize("samples", [1, 2, 32, 33])
def test_every_sample_is_evaluated_once(samples: int) -> None:
    """At and around the size of a batch."""
    x = np.random.default_rng(0).normal(size=(samples, 3)).astype(np.float32)
    golden = compute_golden(model("(float[N, 3] x) => (float[N, 3] y)", "y = Add(x, x)"), {"x": x})
    np.testing.assert_array_equal(golden.outputs["y"], 2 * x.astype(np.float64))
    np.testing.assert_array_equal(golden.baseline["y"], 2 * x)
    assert golden.samples == samples


def test_a_fixed_batch_is_kept_to() -> None:
    """The graph is fed as many samples as it takes at a time."""
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    graph = model("(float[2, 3] x) => (float[2, 3] y)", "y = Neg(x)")
    np.testing.assert_array_equal(compute_golden(graph, {"x": x}).baseline["y"], -x)
    with pytest.raises(InputError, match="batches of 2"):
        compute_golden(graph, {"x": x[:5]})


def test_inputs_of_several_types() -> None:
    """Indices stay integers."""
    graph = model("(float[N, 4] x, int64[N, 1] i) => (float[N, 1] y)", "y = GatherElements<axis: int = 1>(x, i)")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    i = np.array([[0], [3], [1], [2], [0]])
    golden = compute_golden(graph, {"x": x, "i": i})
    assert golden.inputs["i"].dtype == np.int64
    np.testing.assert_array_equal(golden.baseline["y"], np.take_along_axis(x, i, 1))
