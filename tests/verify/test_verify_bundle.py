"""Tests of ``verify_bundle``: the model of a bundle, held to the golden data in it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import safetensors.numpy
from onnx import TensorProto, helper

from bnfold.bundle.layout import GOLDEN, MANIFEST, MODEL
from bnfold.bundle.manifest import FileEntry, Manifest
from bnfold.errors import AttestationError, InputError
from bnfold.export.writer import write_bundle
from bnfold.files import sha256
from bnfold.verify import Provider, Verdict, verify, verify_bundle
from bnfold.verify.diagnosis import what_is_missing
from bnfold.verify.runtime import onnxruntime_module
from tests.verify.graphs import FAULTS, Fold, images, network, random_layers, right, saved
from tests.verify.graphs import model as graph_of


def bundle(folder: Path, fold: Fold, *, samples: int = 9, batch: int | str = "N") -> Path:
    """Write the bundle of a network that was folded by ``fold``."""
    layers = random_layers()
    original = ir.from_proto(network(layers, batch=batch))
    write_bundle(
        folder,
        model=ir.from_proto(network(layers, fold, batch=batch)),
        original=original,
        inputs=images(samples),
        fold_report={"removed": 3},
        provenance={},
        force=False,
    )
    return folder


def forge(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and its hash in the manifest, as one who can do both would."""
    path = folder / name
    path.write_bytes(content)
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    manifest.files[name] = FileEntry(sha256(path), path.stat().st_size)  # pyright: ignore[reportIndexIssue]  (a dict)
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def test_a_right_bundle_is_equivalent(tmp_path: Path) -> None:
    """The folded model agrees with the golden data; neither the original nor its code is needed."""
    report = verify_bundle(bundle(tmp_path / "bundle", right))
    assert (report.verdict, report.findings) == (Verdict.EQUIVALENT, ())
    assert (report.samples, report.batch_sizes, report.compared_elements) == (9, (1, 2, 6), 90)
    assert report.files["candidate"]["sha256"] == sha256(tmp_path / "bundle" / MODEL)
    assert report.files["manifest"]["sha256"] == sha256(tmp_path / "bundle" / MANIFEST)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_caught(tmp_path: Path, name: str) -> None:
    """A model that was folded wrongly differs from the golden data that came with it."""
    report = verify_bundle(bundle(tmp_path / "bundle", FAULTS[name]))
    assert (report.exit_code, report.outputs[0].name) == (1, "logits")


@pytest.mark.parametrize(("samples", "batch"), [(2, "N"), (8, 4)])
def test_golden_data_follow_the_batches(tmp_path: Path, samples: int, batch: int | str) -> None:
    """Two samples, of which one is seen twice, and fixed batches: each result meets its own golden one."""
    assert verify_bundle(bundle(tmp_path / "bundle", right, samples=samples, batch=batch)).exit_code == 0


def between_casts(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Put a float16 network between float32 inputs and outputs, as converters to half precision do."""
    graph = proto.graph
    to_half = helper.make_node("Cast", ["images"], ["half_images"], name="to_half", to=TensorProto.FLOAT16)
    to_single = helper.make_node("Cast", ["half_logits"], ["logits"], name="to_single", to=TensorProto.FLOAT)
    graph.node[0].input[0], graph.node[-1].output[0] = "half_images", "half_logits"
    nodes = [to_half, *graph.node, to_single]
    del graph.node[:]
    graph.node.extend(nodes)
    for port in (*graph.input, *graph.output):
        port.type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.checker.check_model(proto, full_check=True)
    return proto


def test_limits_are_those_of_the_original_file(tmp_path: Path) -> None:
    """Half-precision weights behind float32 ports: the bundle is judged as the two files are, limit by limit.

    The two evaluate in other batches, so that sums may be taken in another order: far less than the 2¹³ between the
    roundoffs of float16 and float32, by which a wrong precision of the original scales the last limit.
    """
    layers = random_layers()
    original, folded = (between_casts(network(layers, fold, dtype=np.float16)) for fold in (None, right))
    brightness = np.linspace(0.1, 3, 8, dtype=np.float32)[:, None, None, None]  # plain noise is too alike for float16
    inputs = {"images": images(8)["images"] * brightness}
    written = write_bundle(
        tmp_path / "bundle",
        model=ir.from_proto(folded),
        original=ir.from_proto(original),
        inputs=inputs,
        fold_report={},
        provenance={},
        force=False,
    )
    assert written.precision is ir.DataType.FLOAT16
    files = saved(original, tmp_path / "original.onnx"), saved(folded, tmp_path / "folded.onnx")
    expected, found = verify(*files, inputs), verify_bundle(written.folder)
    assert (found.verdict, found.findings) == (expected.verdict, expected.findings) == (Verdict.EQUIVALENT, ())
    for ours, theirs in zip(found.ladder, expected.ladder[1:], strict=True):  # without the original, no exact fold
        assert ours.name is theirs.name
        assert asdict(ours.tolerance.limit) == pytest.approx(asdict(theirs.tolerance.limit), rel=0.1)


@pytest.mark.parametrize("mutants", [0, 4, 8, 16])
@pytest.mark.parametrize("name", ["wrong_epsilon", "biased_variance"])
def test_faults_below_a_wide_limit_never_pass(tmp_path: Path, name: str, mutants: int) -> None:
    """In float16 the logits of plain noise vary by less than ten times their limit, and small faults are within it.

    The self-test catches some mistakes and misses others: whatever their number, nothing can be concluded.
    """
    layers = random_layers()
    written = write_bundle(
        tmp_path / "bundle",
        model=ir.from_proto(between_casts(network(layers, FAULTS[name], dtype=np.float16))),
        original=ir.from_proto(network(layers)),
        inputs=images(8),
        fold_report={},
        provenance={},
        force=False,
    )
    report = verify_bundle(written.folder, mutants=mutants)
    assert (report.verdict, report.exit_code) == (Verdict.INCONCLUSIVE, 4)
    assert all(rung.passed for rung in report.ladder)  # otherwise this shows nothing
    assert mutants < 8 or (report.mutation is not None and (report.mutation.kill_rate or 0) >= 0.5)
    (finding,) = report.findings
    tried = f"tried {mutants or 'no'} wrong candidates, at least 8 must be" if mutants < 8 else "missed "
    assert f"it would not show a difference, and the self-test {tried}" in finding.words
    assert "compare on real data (--data; for a bundle, where it is exported)" in finding.words


def test_outputs_in_another_order_are_no_equivalence(tmp_path: Path) -> None:
    """The manifest says in which order the exported model gave its outputs; one forged later gives another."""
    weights = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    proto = graph_of(nodes, {"x": ["N", 3]}, {"y": ["N", 5], "z": ["N", 5]}, {"w": weights})
    rows = np.random.default_rng(1).standard_normal((8, 3)).astype(np.float32)
    written = write_bundle(
        tmp_path / "bundle",
        model=ir.from_proto(proto),
        original=ir.from_proto(proto),
        inputs={"x": rows},
        fold_report={},
        provenance={},
        force=False,
    )
    assert verify_bundle(written.folder).exit_code == 0
    model = onnx.load(written.model_path)
    model.graph.output.reverse()
    forge(written.folder, MODEL, model.SerializeToString())
    report = verify_bundle(written.folder)
    (finding,) = report.findings
    assert (report.exit_code, finding.about) == (1, "ports")
    assert "outputs in another order: [y, z] in the manifest, [z, y] in the candidate" in finding.words


def test_one_sample_is_not_enough(tmp_path: Path) -> None:
    """A bundle with one golden sample cannot show that its output depends on the input."""
    assert verify_bundle(bundle(tmp_path / "bundle", right, samples=1)).exit_code == 4


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """Golden data that are not the manifest's are bad input, whatever they hold."""
    folder = bundle(tmp_path / "bundle", right)
    (folder / GOLDEN).write_bytes((folder / GOLDEN).read_bytes()[:-1] + b"\0")
    with pytest.raises(InputError, match=rf"{GOLDEN}: changed since the bundle was written"):
        verify_bundle(folder)


def test_golden_nan_never_passes(tmp_path: Path) -> None:
    """Golden outputs that are not finite decide nothing, also where the hashes were made to fit."""
    folder = bundle(tmp_path / "bundle", right)
    golden = dict(safetensors.numpy.load_file(folder / GOLDEN))
    golden["output/logits"] = np.full_like(golden["output/logits"], np.nan)
    forge(folder, GOLDEN, safetensors.numpy.save(golden))
    assert verify_bundle(folder).verdict is Verdict.INCONCLUSIVE


def test_a_model_of_other_ports_is_refused(tmp_path: Path) -> None:
    """A model that does not take the golden inputs is named with what it expects."""
    folder = bundle(tmp_path / "bundle", right)
    model = onnx.load(folder / MODEL)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    forge(folder, MODEL, model.SerializeToString())
    with pytest.raises(InputError, match=r"input images: the graph expects images float\[N, 4, 12, 12\], found"):
        verify_bundle(folder)


@pytest.mark.parametrize("provider", [Provider.CUDA, Provider.TENSORRT])
def test_an_absent_device_is_never_a_pass(tmp_path: Path, provider: Provider) -> None:
    """Without the device the bundle is not attested: exit code 3."""
    if not what_is_missing(onnxruntime_module(), provider):
        pytest.skip(f"{provider} loads on this machine")
    with pytest.raises(AttestationError, match=f"--provider {provider}: nothing ran there"):
        verify_bundle(bundle(tmp_path / "bundle", right), provider=provider)
