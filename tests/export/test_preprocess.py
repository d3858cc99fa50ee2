"""Tests of ``bnfold.export.preprocess``: the arithmetic is in the graph, and folds where that is exact."""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.export.preprocess import Preprocessing, add_preprocessing
from bnfold.folding import Objective, fold
from bnfold.merging import merge
from bnfold.verify.oracle import Oracle
from tests.folding.builder import Builder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TEXT = "mean=0.485,0.456,0.406; std=0.229,0.224,0.225; uint8"
ROUNDING = 1e-6
"""Mean and std are stored in float32, with a relative error of 6e-8; the images have a dozen values a sum."""


def network(*, pads: int = 0, dtype: type = np.float32) -> ir.Model:
    """Return a Conv and a Relu over an image."""
    b = Builder(dtype=dtype)
    return b.model(b("Relu", b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3, pads=[pads] * 4)))


def test_it_computes_what_the_caller_did() -> None:
    """(x / 255 − mean) / std of bytes, by the same name and shape."""
    model, bare = network(), network()
    assert add_preprocessing(model, Preprocessing.parse(TEXT)) == "x"
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    (port,) = model.graph.inputs
    assert (port.name, str(port.dtype), str(port.shape)) == ("x", "UINT8", "[N,3,6,5]")
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 5)).astype(np.uint8)
    wanted = (image / 255.0 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    (expected,) = Oracle(bare).run({"x": wanted}).values()
    (actual,) = Oracle(model).run({"x": image}).values()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING * expected.max())


@pytest.mark.parametrize(("pads", "left"), [(0, {"Cast", "Conv", "Relu"}), (1, {"Cast", "Sub", "Conv", "Relu"})])
def test_it_folds_where_that_is_exact(pads: int, left: set[str]) -> None:
    """Without padding all of it goes into the Conv; zeros at a border are not the mean, so that the Sub stays there."""
    model = network(pads=pads)
    add_preprocessing(model, Preprocessing.parse(TEXT))
    fold(model, Objective.LATENCY)
    merge(model)
    assert Counter(node.op_type for node in model.graph) == dict.fromkeys(left, 1)


def test_one_number_for_all_channels_and_floats() -> None:
    """No mean, no Sub; no bytes, no Cast; nothing is divided by 255."""
    model = network()
    add_preprocessing(model, Preprocessing.parse("std=2"))
    assert [node.op_type for node in model.graph] == ["Div", "Conv", "Relu"]
    assert str(model.graph.inputs[0].dtype) == "FLOAT"
    assert Preprocessing.parse("uint8").scale == 255
    assert Preprocessing.parse("uint8;scale=1").scale == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mean=1,x", "expected numbers"),
        ("mean=inf", "expected finite numbers"),
        ("std=0", "expected positive numbers"),
        ("scale=1,2", "one for scale"),
        ("gamma=1", "expected KEY=VALUE"),
        ("uint8=1", "expected KEY=VALUE"),
        ("mean=1;mean=2", "expected KEY=VALUE"),
    ],
)
def test_malformed_text(text: str, words: str) -> None:
    """The message says what is expected."""
    with pytest.raises(InputError, match=words):
        Preprocessing.parse(text)


@pytest.mark.parametrize(
    ("text", "words"), [("mean=1,2", "mean has 2 numbers"), ("mean=1;input=z", "z is none of them")]
)
def test_what_does_not_fit(text: str, words: str) -> None:
    """Numbers for another count of channels, and an input that is not there; the graph stays."""
    model = network()
    before = ir.to_proto(model)
    with pytest.raises(InputError, match=words):
        add_preprocessing(model, Preprocessing.parse(text))
    assert ir.to_proto(model) == before
