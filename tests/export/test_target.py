"""Tests of ``bnfold.export.target``: what ONNX Runtime fuses beforehand, what stays, and what is refused."""

import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

import bnfold
from bnfold.errors import InputError, MissingDependencyError
from bnfold.export import Precision, Target, TargetReport, Transformed, fuse, transform, tune
from bnfold.files import sha256
from bnfold.graph import load, save
from bnfold.graph.signature import Port
from bnfold.verify import verify_bundle
from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import onnxruntime_module, open_session
from tests.folding.builder import Builder

IMAGES = {"x": np.random.default_rng(1).normal(size=(8, 3, 7, 6)).astype(np.float32)}


def network(*, dtype: Any = np.float32, **options: int) -> ir.Model:
    """Return Conv, BN and Relu, a shortcut, and a head of two linear layers: a FusedConv and a FusedGemm."""
    b = Builder(dtype=dtype, **options)
    x = b.conv(b.input("batch", 3, 7, 6), 3, 4, 3, 3, pads=[1] * 4)
    x = b("Relu", b.batch_norm(x, 4))
    x = b("Add", x, b.conv(x, 4, 4, 1, 1))
    x = b("Relu", b("Gemm", b("Flatten", b("GlobalAveragePool", x)), b.normal(4, 9), b.normal(9)))
    model = b.model(b("Gemm", x, b.normal(9, 5)))
    model.metadata_props["author"] = "someone"
    return model


def fused(model: ir.Model) -> Transformed:
    """Fold, optimize and fuse a copy."""
    return transform(model.clone(), target=Target.ORT)


def test_the_runtimes_own_operators_are_in_the_graph() -> None:
    """With the account of them, and the operator set that they belong to, alone; without the option there are none."""
    plain, made = transform(network()), fused(network())
    before, after = (len(list(each.graph.graph)) for each in (plain, made))
    version = onnxruntime_module().__version__
    assert made.target == TargetReport(version, before, after, {"FusedConv": 1, "FusedGemm": 1})
    assert after == before - 2
    assert dict(made.graph.graph.opset_imports) == {"": 17, "com.microsoft": 1}
    assert made.reports()["target"]["name"] == "ort"
    assert plain.target is None
    assert {node.domain for node in plain.graph.graph} == {""}


def test_inputs_outputs_metadata_and_weights_stay() -> None:
    """Names, types, order and symbolic extents; the weights that the runtime left alone are those of before."""
    plain, made = transform(network()).graph, fused(network()).graph
    for before, after in ((plain.graph.inputs, made.graph.inputs), (plain.graph.outputs, made.graph.outputs)):
        assert list(map(Port.of, before)) == list(map(Port.of, after))
    assert dict(made.metadata_props) == {"author": "someone"}
    stored = {name: value.const_value for name, value in plain.graph.initializers.items()}
    assert set(made.graph.initializers) == set(stored)
    for name, value in made.graph.initializers.items():
        tensor = stored[name]
        assert value.const_value is not None
        assert tensor is not None
        np.testing.assert_array_equal(value.const_value.numpy(), tensor.numpy())


def test_initializers_that_a_caller_may_replace_stay_inputs() -> None:
    """A default value of an input is one after, too."""
    model = network()
    bias = next(value for name, value in model.graph.initializers.items() if value.shape == ir.Shape([9]) and name)
    model.graph.inputs.append(bias)
    fuse(model)
    assert [value.name for value in model.graph.inputs] == ["x", bias.name]
    assert model.graph.initializers[str(bias.name)].const_value is not None


def test_it_computes_the_same(tmp_path: Path) -> None:
    """In double by the oracle, and on the runtime with its optimizations off, where the fused operators still run."""
    model, made = network(), fused(network()).graph
    (name,) = (str(value.name) for value in model.graph.outputs)
    exact = Oracle(model).run(IMAGES)[name]
    ours = Oracle(made).run(IMAGES)[name]
    # The fold rounds every weight once to float32; each of some hundred operands moves the result by 2⁻²⁴ of its size.
    np.testing.assert_allclose(ours, exact, atol=2**-24 * 100 * np.abs(exact).max(), rtol=0)
    save(made, tmp_path / "fused.onnx")
    with open_session(tmp_path / "fused.onnx", optimized=False) as session:
        np.testing.assert_allclose(session.run(IMAGES)[name], exact, atol=2**-24 * 200 * np.abs(exact).max(), rtol=0)


def test_nothing_is_laid_out_for_this_processor() -> None:
    """Weights keep their extents, and no operator is of the domain of blocks."""
    made = fused(network()).graph
    assert all(node.domain != "com.microsoft.nchwc" for node in made.graph)


def test_a_bundle_says_who_loads_it_and_verifies(tmp_path: Path) -> None:
    """Manifest, metadata, README and server configuration; every wrong copy of the fused graph is caught."""
    bundle = bnfold.export_bundle(network(), tmp_path / "b", IMAGES, target=Target.ORT)
    version = onnxruntime_module().__version__
    told: Any = bundle.manifest.fold["target"]
    assert (told["name"], told["onnxruntime"]) == ("ort", version)
    assert json.loads(load(bundle.model_path).metadata_props["bnfold.fold"])["target"] == told
    text = (bundle.folder / "README.md").read_text()
    assert f"ONNX Runtime {version} has fused it for its CPU provider (FusedConv, FusedGemm). Only" in text
    assert "CUDA" not in text
    assert "KIND_CPU" in (bundle.folder / "config.pbtxt").read_text()
    report = verify_bundle(bundle.folder)
    assert (report.exit_code, report.findings) == (0, ())
    assert report.mutation is not None
    assert report.mutation.killed == len(report.mutation.trials) > 0
    assert {trial.node for trial in report.mutation.trials} & _fused_nodes(bundle.model_path)
    assert report.localization is not None
    assert report.localization.first_fault is None
    assert {"FusedConv", "FusedGemm"} <= {error.op_type for error in report.localization.nodes}


def _fused_nodes(path: Path) -> set[str]:
    return {node.name for node in onnx.load(path).graph.node if node.op_type.startswith("Fused")}


def test_a_wrong_fused_operator_is_found_and_named(tmp_path: Path) -> None:
    """One channel of the first convolution a tenth larger: not equivalent, and its node is the one at fault."""
    bundle = bnfold.export_bundle(network(), tmp_path / "b", IMAGES, target=Target.ORT)
    model = onnx.load(bundle.model_path)
    node = next(node for node in model.graph.node if node.op_type == "FusedConv")
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    array = onnx.numpy_helper.to_array(weight).copy()
    array[1] *= 1.1
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(model, bundle.model_path)
    _accept(bundle.folder)
    report = verify_bundle(bundle.folder)
    assert report.exit_code == 1
    assert report.localization is not None
    assert report.localization.first_fault is not None
    assert report.localization.first_fault.nodes[-1] == node.name


def _accept(folder: Path) -> None:
    """Write the hash of the model anew."""
    manifest = json.loads((folder / "manifest.json").read_text())
    model = folder / "model.onnx"
    manifest["files"]["model.onnx"] = {"sha256": sha256(model), "bytes": model.stat().st_size}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    """In another process, too, with another hash seed."""
    save(network(), tmp_path / "source.onnx")
    script = (
        "import sys; from pathlib import Path; from bnfold.export import Target, transform; "
        "from bnfold.graph import load, save; folder = Path(sys.argv[1]); "
        "save(transform(load(folder / 'source.onnx'), target=Target.ORT).graph, folder / sys.argv[2])"
    )
    for name, seed in (("a", "1"), ("b", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, str(tmp_path), name], check=True, env=environment)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above protobuf's limit on the way in and out, and in parts; nothing temporary stays, nothing is lost."""
    monkeypatch.setattr(import_module("bnfold.graph.save"), "PROTOBUF_LIMIT", 2**26)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    b = Builder(dtype=np.float32)
    x = b("Relu", b("Gemm", b.input("batch", 30), b.normal(30, 40), b.normal(40)))
    made = fused(b.model(b("Gemm", x, b.normal(40, 20))))
    assert not list(scratch.iterdir())
    save(made.graph, tmp_path / "one.onnx")
    save(made.graph, tmp_path / "parts.onnx", max_shard_size=4000)
    assert {path.name for path in tmp_path.glob("*.data")} >= {"one.onnx.data", "parts-00001-of-00002.onnx.data"}
    inputs = {"x": np.ones((2, 30), np.float32)}
    results: list[Any] = []
    for path in (tmp_path / "one.onnx", tmp_path / "parts.onnx"):
        with open_session(path, optimized=False) as session:
            results += session.run(inputs).values()
    np.testing.assert_array_equal(*results)


def test_tuned_graphs_are_measured_as_they_are_served() -> None:
    """Fused; the one that stays is, too."""
    model = network()
    made, _ = tune(lambda strategy: transform(model.clone(), strategy=strategy, target=Target.ORT), IMAGES, rounds=1)
    assert made.target is not None


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_weights_are_refused(dtype: Any) -> None:
    """The provider would wrap every operator in Casts; the same graph in float32 is fused."""
    model = network(dtype=np.float16)
    if dtype is not np.float16:
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy().astype(dtype), name=value.name)
            value.dtype = ir.DataType.BFLOAT16
        for value in (*model.graph.inputs, *model.graph.outputs):
            value.dtype = ir.DataType.BFLOAT16
    with pytest.raises(InputError, match=r"^--target ort: .* computes b?float16 in float32, and would write Casts"):
        fused(model)


def test_a_precision_decides_before_the_weights_do() -> None:
    """float16 asked for is refused, float32 of a float16 source is fused."""
    for precision in (Precision.FLOAT16, Precision.BFLOAT16, Precision.MIXED):
        with pytest.raises(InputError, match=r"^--target ort: .*, or add --precision float32\.$"):
            transform(network(), target=Target.ORT, precision=precision, inputs=IMAGES)
    half = {"x": IMAGES["x"].astype(np.float16)}
    made = transform(network(dtype=np.float16), target=Target.ORT, precision=Precision.FLOAT32, inputs=half)
    assert made.target is not None
    assert made.target.operators == {"FusedConv": 1, "FusedGemm": 1}


def test_another_provider_is_refused() -> None:
    """Its fusions are others."""
    with pytest.raises(InputError, match=r"^--target ort: .* --provider cuda has other fusions"):
        transform(network(), target=Target.ORT, provider="cuda")


def test_quantized_graphs_are_refused() -> None:
    """ONNX Runtime takes signed activations on some processors and not on others."""
    b = Builder(dtype=np.float32)
    scale = b.stored(0.5)
    x = b("DequantizeLinear", b("QuantizeLinear", b.input("batch", 3, 7, 6), scale), scale)
    model = b.model(b.conv(x, 3, 4, 3, 3))
    with pytest.raises(InputError, match=r"^--target ort: the graph is quantized \(node \w+\)"):
        fused(model)


def test_what_the_runtime_cannot_load_is_refused() -> None:
    """In its words, and without the path of a temporary file."""
    with pytest.raises(InputError, match=r"^--target ort: the graph: ONNX Runtime on cpu has no Conv in the type"):
        fused(network(dtype=np.float64))


def test_without_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said; the usual line."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"^ONNX Runtime is not installed: pip install 'bnfold\[gpu\]'"):
        fused(network())
