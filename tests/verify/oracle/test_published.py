"""The oracle against results that others published: onnx's node cases, PyTorch's, and whole networks."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnx.backend.test.case import node as node_cases

from bnfold.verify.oracle import Oracle

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"

PYTORCH = sorted(
    path.parent.name
    for pattern in ("test_Conv*", "test_MaxPool*", "test_AvgPool*")
    for path in (DATA / "pytorch-converted").glob(f"{pattern}/model.onnx")
)

LIGHT = ["densenet121", "inception_v2", "resnet50", "shufflenet", "squeezenet"]

FOUR_DIGITS = {
    "test_averagepool_2d_ceil_last_window_starts_on_pad",
    "test_gridsample_bicubic",
    "test_roialign_aligned_false",
    "test_roialign_aligned_true",
}
"""Cases whose expected values are written down by hand, to four digits."""

BEYOND = {"test_loop13_seq", "test_loop16_seq_none", "test_scan_sum"}
"""Cases whose outputs are sequences, which have no distance, and the Scan of opset 8, which had another meaning."""


Arrays = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A model of one node with inputs and the outputs that they must lead to."""

    model: onnx.ModelProto
    data_sets: list[tuple[Arrays, Arrays]]


@functools.cache
def published_nodes() -> dict[str, Case]:
    """Return onnx's cases of the operators that the oracle computes itself, those with indices too."""
    operators = {
        *(
            "AffineGrid",
            "AveragePool",
            "Conv",
            "ConvTranspose",
            "GRU",
            "GridSample",
            "LRN",
            "LSTM",
            "LayerNormalization",
        ),
        *("Loop", "MaxPool", "MeanVarianceNormalization", "NonMaxSuppression", "RNN", "RoiAlign", "Scan"),
    }
    for operator in operators:
        import_module(f"onnx.backend.test.case.node.{operator.lower()}")  # importing registers its cases
    cases = {case.name: Case(case.model, case.data_sets) for case in node_cases._NodeTestCases}
    own = {name for name, case in cases.items() if case.model.graph.node[0].op_type in operators}
    return {name: cases[name] for name in sorted(own - BEYOND)}


@pytest.mark.parametrize("name", published_nodes())
def test_node_case_of_onnx(name: str) -> None:
    """Attributes at the edge of what they can mean have the results that the standard's own tests give."""
    case = published_nodes()[name]
    oracle = Oracle(ir.from_proto(case.model))
    digits = 1e-4 if name in FOUR_DIGITS else 1e-6
    for inputs, outputs in case.data_sets:
        feeds = {port.name: array for port, array in zip(case.model.graph.input, inputs, strict=True)}
        for result, expected in zip(oracle.run(feeds).values(), outputs, strict=True):
            np.testing.assert_allclose(result, expected, rtol=digits, atol=digits)


@pytest.mark.parametrize("name", PYTORCH)
def test_layer_of_pytorch(name: str) -> None:
    """Convolution and pooling in one to three dimensions give what PyTorch gave when it wrote these models."""
    folder = DATA / "pytorch-converted" / name
    model = onnx.load(folder / "model.onnx")
    model.opset_import[0].version = 9  # these operators kept their meaning from opset 6, which the oracle refuses
    oracle = Oracle(ir.from_proto(model))
    inputs, expected = (list(_tensors(folder / "test_data_set_0", kind)) for kind in ("input", "output"))
    (result,) = oracle.run(dict(zip(oracle.input_names, inputs, strict=True))).values()
    np.testing.assert_allclose(result, expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LIGHT)
def test_whole_network(name: str) -> None:
    """Networks of the opset-9 era, initializers among their inputs, give the outputs shipped with them."""
    oracle = Oracle(ir.load(DATA / "light" / f"light_{name}.onnx"))
    ramp = (np.arange(3 * 224 * 224) / (3 * 224 * 224)).reshape(1, 3, 224, 224)  # what onnx's test runner feeds
    (result,) = oracle.run({oracle.input_names[0]: ramp.astype(np.float32)}).values()
    expected = numpy_helper.to_array(onnx.load_tensor(DATA / "light" / f"light_{name}_output_0.pb"))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def _tensors(folder: Path, kind: str) -> Iterator[npt.NDArray[Any]]:
    for path in sorted(folder.glob(f"{kind}_*.pb")):
        yield numpy_helper.to_array(onnx.load_tensor(path))
