"""Graphs that ONNX Runtime's optimizer saved: its own operators, evaluated in double and verified as candidates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from bnfold.errors import InputError
from bnfold.verify import Oracle, Verdict, verify
from bnfold.verify.oracle.contrib import nhwc_fused_conv
from bnfold.verify.oracle.linear import conv
from bnfold.verify.runtime import onnxruntime_module
from tests.verify.graphs import model, saved
from tests.verify.oracle.nodes import normal

Arrays = dict[str, np.ndarray[Any, Any]]


def convolutional() -> onnx.ModelProto:
    """Return convolutions before every activation that is fused into one, a shortcut, and a head."""
    weights = {f"w{index}": normal(4, 4, 3, 3, seed=index) / 4 for index in range(6)}
    bounds = {"low": np.array(-0.5, np.float32), "high": np.array(0.75, np.float32)}
    functions: list[tuple[str, Arrays, dict[str, Any]]] = [
        ("Relu", {}, {}),
        ("LeakyRelu", {}, {"alpha": 0.1}),
        ("Sigmoid", {}, {}),
        ("HardSigmoid", {}, {"alpha": 0.3, "beta": 0.4}),
        ("Tanh", {}, {}),
        ("Clip", bounds, {}),
    ]
    nodes: list[onnx.NodeProto] = []
    value = "x"
    for index, (name, operands, attributes) in enumerate(functions):
        nodes.append(helper.make_node("Conv", [value, f"w{index}"], [f"c{index}"], pads=[1] * 4))
        nodes.append(helper.make_node(name, [f"c{index}", *operands], [f"a{index}"], **attributes))
        value = f"a{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "g0", "bias"], ["hidden"], transB=1))
    nodes.append(helper.make_node("Relu", ["hidden"], ["positive"]))
    nodes.append(helper.make_node("Gemm", ["positive", "g1"], ["y"]))
    dense = {"g0": normal(7, 4, seed=7), "bias": normal(7, seed=8), "g1": normal(7, 5, seed=9)}
    return model(nodes, {"x": ["N", 4, 6, 5]}, {"y": ["N", 5]}, {**weights, **bounds, **dense})


def attentive() -> onnx.ModelProto:
    """Return a block with attention, normalizations, a shortcut and a GELU written out."""
    weights = {
        "gamma": normal(8),
        "beta": normal(8, seed=1),
        "q": normal(8, 8, seed=2) / 3,
        "k": normal(8, 8, seed=3) / 3,
    }
    weights |= {"w1": normal(8, 12, seed=4) / 3, "b1": normal(12, seed=5), "w2": normal(12, 8, seed=6) / 3}
    weights |= {n: np.array(v, np.float32) for n, v in {"root": 2**0.5, "one": 1, "half": 0.5, "scale": 0.375}.items()}
    node = helper.make_node
    nodes = [
        node("LayerNormalization", ["x", "gamma", "beta"], ["n"], stash_type=1),
        node("MatMul", ["n", "q"], ["queries"]),
        node("MatMul", ["n", "k"], ["keys"]),
        node("Transpose", ["keys"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["queries", "turned"], ["products"]),
        node("Mul", ["products", "scale"], ["scaled"]),
        node("Softmax", ["scaled"], ["weights"], axis=-1),
        node("MatMul", ["weights", "n"], ["mixed"]),
        node("MatMul", ["mixed", "w1"], ["m"]),
        node("Add", ["m", "b1"], ["biased"]),
        node("Div", ["biased", "root"], ["divided"]),
        node("Erf", ["divided"], ["erf"]),
        node("Add", ["erf", "one"], ["more"]),
        node("Mul", ["biased", "more"], ["product"]),
        node("Mul", ["product", "half"], ["gelu"]),
        node("MatMul", ["gelu", "w2"], ["back"]),
        node("Add", ["back", "x"], ["sum"]),
        node("LayerNormalization", ["sum", "gamma", "beta"], ["m2"]),
        node("Sigmoid", ["m2"], ["gate"]),
        node("Mul", ["m2", "gate"], ["y"]),
    ]
    return model(nodes, {"x": ["N", 7, 8]}, {"y": ["N", 7, 8]}, weights)


CASES: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...], set[str]]] = {
    "convolutional": (convolutional, (8, 4, 6, 5), {"FusedConv", "FusedGemm"}),
    "attentive": (attentive, (8, 7, 8), {"FusedMatMul", "BiasGelu", "SkipLayerNormalization", "QuickGelu"}),
}


def optimized(path: Path, level: str) -> Path:
    """Return the file that ONNX Runtime writes of a model that it has optimized."""
    runtime = onnxruntime_module()
    options = runtime.SessionOptions()
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    options.optimized_model_filepath, options.log_severity_level = str(path.with_name("optimized.onnx")), 4
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_name("optimized.onnx")


@pytest.mark.parametrize("name", CASES)
def test_a_graph_that_the_optimizer_saved_is_verified(tmp_path: Path, name: str) -> None:
    """It agrees with what it was made from, also in double; wrong copies of it are caught."""
    build, shape, operators = CASES[name]
    original = saved(build(), tmp_path / "original.onnx")
    candidate = optimized(original, "ORT_ENABLE_EXTENDED")
    assert operators <= {node.op_type for node in onnx.load(candidate).graph.node}
    inputs = {"x": normal(*shape, seed=20)}
    exact, ours = (Oracle(ir.load(path)).run(inputs)["y"] for path in (original, candidate))
    np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=1e-6)
    report = verify(original, candidate, inputs)
    assert (report.verdict, report.findings) == (Verdict.EQUIVALENT, ())
    assert report.mutation is not None
    assert report.mutation.killed == len(report.mutation.trials) == 8


def test_a_graph_laid_out_for_one_processor_is_refused(tmp_path: Path) -> None:
    """What to do instead is said."""
    original = saved(convolutional(), tmp_path / "original.onnx")
    candidate = optimized(original, "ORT_ENABLE_ALL")
    if not any(node.domain == "com.microsoft.nchwc" for node in onnx.load(candidate).graph.node):
        pytest.skip("ONNX Runtime has no blocked layout for this processor")
    with pytest.raises(
        InputError,
        match=r"optimized\.onnx: ONNX Runtime has laid out .* save it with .* ORT_ENABLE_EXTENDED",
    ):
        verify(original, candidate, {"x": normal(8, 4, 6, 5)})


def test_layer_normalization_before_the_standard_had_it(tmp_path: Path) -> None:
    """ONNX Runtime fuses one into a graph of opset 13, four before its own, and without a schema."""
    node = helper.make_node
    weights = {
        "two": np.array(2, np.float32),
        "tiny": np.array(0.25, np.float32),
        "g": normal(8),
        "b": normal(8, seed=1),
    }
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        node("Sub", ["x", "mean"], ["centred"]),
        node("Pow", ["centred", "two"], ["squares"]),
        node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
        node("Add", ["variance", "tiny"], ["positive"]),
        node("Sqrt", ["positive"], ["deviation"]),
        node("Div", ["centred", "deviation"], ["normalized"]),
        node("Mul", ["normalized", "g"], ["scaled"]),
        node("Add", ["scaled", "b"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", 7, 8]}, {"y": ["N", 7, 8]}, weights)
    proto.opset_import[0].version = 13
    original = saved(proto, tmp_path / "original.onnx")
    candidate = optimized(original, "ORT_ENABLE_EXTENDED")
    assert [node.op_type for node in onnx.load(candidate).graph.node] == ["LayerNormalization"]
    x = {"x": normal(4, 7, 8, seed=2)}
    exact, ours = (Oracle(ir.load(path)).run(x)["y"] for path in (original, candidate))
    # The double twin of the original squares by a power; some tens of roundings of 2⁻⁵³ lie between the two.
    np.testing.assert_allclose(ours, exact, rtol=1e-13, atol=1e-13)
    assert verify(original, candidate, x).verdict is Verdict.EQUIVALENT


def test_channels_last() -> None:
    """Of x (N, H, W, C), with a summand of the same layout."""
    x, weight, summand = (
        normal(*shape, seed=n).astype(np.float64) for n, shape in enumerate([(2, 5, 4, 3), (6, 3, 1, 1), (2, 5, 4, 6)])
    )
    expected = np.maximum(conv(np.moveaxis(x, -1, 1), weight) + np.moveaxis(summand, -1, 1), 0)
    found = nhwc_fused_conv(x, weight, None, summand, activation="Relu")
    np.testing.assert_allclose(found, np.moveaxis(expected, 1, -1))
