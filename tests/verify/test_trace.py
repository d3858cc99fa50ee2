"""The trace in a bundle: small, the right model follows it, a fault in any node is named without the original."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import safetensors.numpy
from onnx import helper
from safetensors import safe_open

from bnfold.bundle.layout import MANIFEST, MODEL, TRACE
from bnfold.bundle.manifest import Manifest
from bnfold.bundle.trace import Trace
from bnfold.errors import InputError
from bnfold.folding import fold
from bnfold.verify import trace as traces
from bnfold.verify import verify_bundle
from bnfold.verify.sketch import sketch
from bnfold.verify.trace import follow_trace, take_trace
from tests.verify.graphs import model as graph_of
from tests.verify.graphs import right
from tests.verify.test_localization import deep_network, planted
from tests.verify.test_verify_bundle import bundle, forge

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def deep() -> tuple[onnx.ModelProto, Trace, Arrays]:
    """Return fifty layers folded by the product, their trace, and the sample."""
    proto = deep_network()
    folded = ir.from_proto(proto)
    fold(folded)
    inputs: Arrays = {"x": np.random.default_rng(1).normal(size=(1, 4, 6, 6)).astype(np.float32)}
    trace = take_trace(ir.from_proto(proto), folded, inputs)
    assert trace is not None
    return ir.to_proto(folded), trace, inputs


def test_a_right_fold_follows_its_trace(deep: tuple[onnx.ModelProto, Trace, Arrays]) -> None:
    """Every value is compared, through its gauge, and none is further off than roundings of the weights make it."""
    proto, trace, inputs = deep
    found = follow_trace(ir.from_proto(proto), trace, inputs)
    assert (found.first_fault, found.unmatched, found.reference) == (None, (), "bnfold's fold, latency")
    assert len(found.nodes) == len(proto.graph.node)
    assert all(node.gauge is not None for node in found.nodes if node.op_type == "Conv")
    worst = max(node.total / node.limit for node in found.nodes)
    assert 1e-3 < worst < 0.5  # neither false alarms nor a limit without meaning


def test_a_fault_in_any_one_node_is_found(deep: tuple[onnx.ModelProto, Trace, Arrays]) -> None:
    """Over all nodes of fifty layers the one node is named; of those behind it nothing can be told."""
    proto, trace, inputs = deep
    for position, node in enumerate(proto.graph.node):
        if node.op_type == "Flatten":  # of (N, 4, 1, 1) it has no wrong form that runs
            continue
        found = follow_trace(ir.from_proto(planted(proto, position)), trace, inputs)
        fault = found.first_fault
        assert fault is not None, node.name
        assert fault.nodes == (node.name,)
        assert sum(not each.passed for each in found.nodes) == 1, node.name
        assert "on inputs that are right" in found.words


def test_faults_on_separate_paths_are_both_found() -> None:
    """What does not depend on a wrong value is judged as if there were none; what depends on it is not blamed."""
    rng = np.random.default_rng(2)
    weights = {name: rng.normal(size=(3, 3)).astype(np.float32) for name in ("v", "w")}
    nodes = [helper.make_node("MatMul", ["x", name], [f"x{name}"], name=f"times_{name}") for name in weights]
    nodes.append(helper.make_node("Add", ["xv", "xw"], ["y"], name="sum"))
    proto = graph_of(nodes, {"x": ["N", 3]}, {"y": ["N", 3]}, weights)
    inputs = {"x": rng.normal(size=(1, 3)).astype(np.float32)}
    trace = take_trace(ir.from_proto(proto), ir.from_proto(proto), inputs)
    assert trace is not None
    found = follow_trace(ir.from_proto(planted(planted(proto, 0), 1)), trace, inputs)
    assert [node.nodes[-1] for node in found.nodes if not node.passed] == ["times_v", "times_w"]
    assert "It is the first of 2." in found.words


def test_another_shape_is_a_fault(deep: tuple[onnx.ModelProto, Trace, Arrays]) -> None:
    """A value of other extents is wrong, whatever its numbers are."""
    proto, trace, inputs = deep
    model = ir.from_proto(proto)
    first = next(node for node in model.graph if node.op_type == "Conv")
    first.attributes["pads"] = ir.AttrInt64s("pads", [0] * 4)
    fault = follow_trace(model, trace, inputs).first_fault
    assert fault is not None
    assert fault.nodes == (first.name,)
    assert fault.excess == np.inf


def test_a_bundle_names_the_node_at_fault(tmp_path: Path) -> None:
    """Of a bundle whose model was exchanged, hashes and all, the first node at fault is named, without the original."""
    folder = bundle(tmp_path / "bundle", right)
    right_one = verify_bundle(folder)
    assert right_one.localization is not None
    assert right_one.localization.first_fault is None
    model = planted(onnx.load(folder / MODEL), 2)
    forge(folder, MODEL, model.SerializeToString())
    report = verify_bundle(folder)
    assert report.exit_code == 1
    assert report.localization is not None
    fault = report.localization.first_fault
    assert fault is not None
    assert fault.nodes[-1] == model.graph.node[2].name
    (told,) = [node for node in report.to_dict()["localization"]["nodes"] if not node["passed"]]
    assert told["introduced"] == told["total"]


def test_an_older_bundle_is_verified_without(tmp_path: Path) -> None:
    """Bundles without a trace are judged by their golden data; no node is named."""
    folder = bundle(tmp_path / "bundle", right)
    (folder / TRACE).unlink()
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    del manifest.files[TRACE]  # pyright: ignore[reportIndexIssue]  (a dict)
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    report = verify_bundle(folder)
    assert (report.exit_code, report.localization) == (0, None)


def without_numbers(content: bytes) -> bytes:
    """Put NaN into the sketches of a trace."""
    tensors = safetensors.numpy.load(content)
    tensors["sketch"][0, 0] = np.nan
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / TRACE
        path.write_bytes(content)
        with safe_open(path, framework="numpy") as file:
            return safetensors.numpy.save(tensors, file.metadata())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[: len(content) // 2], "not a trace"),
        (lambda _: safetensors.numpy.save({"sketch": np.zeros((1, 1))}), "not a trace"),
        (without_numbers, "sketch is not finite"),
    ],
)
def test_a_forged_trace_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes], words: str) -> None:
    """A trace that is none is bad input, named with its file, also where its hash was made to fit."""
    folder = bundle(tmp_path / "bundle", right)
    forge(folder, TRACE, damage((folder / TRACE).read_bytes()))
    with pytest.raises(InputError, match=rf"{TRACE}: .*{words}"):
        verify_bundle(folder)


def test_a_trace_of_samples_that_are_not_there_is_refused(tmp_path: Path) -> None:
    """Golden data of fewer samples than the trace was taken on cannot be held to it."""
    folder = bundle(tmp_path / "bundle", right)
    trace = Trace.from_file(str(folder / TRACE))
    forge(folder, TRACE, replace(trace, samples=99).to_bytes())
    with pytest.raises(InputError, match="of 99 golden samples, the bundle has 9"):
        verify_bundle(folder)


def test_a_trace_comes_back_from_its_file(tmp_path: Path, deep: tuple[onnx.ModelProto, Trace, Arrays]) -> None:
    """Bit for bit, and it is small: at most a mebibyte of sketches, however many values there are."""
    _, trace, _ = deep
    (tmp_path / TRACE).write_bytes(trace.to_bytes())
    again = Trace.from_file(str(tmp_path / TRACE))
    assert again.to_bytes() == trace.to_bytes()
    assert (again.names, again.shapes, again.samples) == (trace.names, trace.shapes, 1)
    assert trace.sketch.size <= max(traces.ROOM, traces.FEWEST * len(trace.names))


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 1000), (1,), (0, 4), ()])
def test_a_sketch_has_the_size_of_what_it_is_of(shape: tuple[int, ...]) -> None:
    """Root mean squares agree, up to the spread of a sum of random signs; sketches are linear."""
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=shape), generator.normal(size=shape)
    taken = sketch(a, 16)
    assert taken.shape == (min(16, a.size),)
    np.testing.assert_allclose(sketch(a - 2 * b, 16), taken - 2 * sketch(b, 16), atol=1e-12)
    if a.size > 100:
        assert np.sqrt(np.mean(taken**2)) == pytest.approx(np.sqrt(np.mean(a**2)), rel=0.5)


def test_signs_never_change() -> None:
    """Traces that are on disk were taken with these."""
    signs = np.sign(sketch(np.ones(24), 24)).astype(int)
    assert "".join("+" if sign > 0 else "-" for sign in signs) == SIGNS


SIGNS = "+++++-+--+-----+-+----++"
