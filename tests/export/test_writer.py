"""Tests of ``bnfold.export.write_bundle``: the evidence is right, the bytes are the same, the write is whole."""

import hashlib
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from bnfold import __version__
from bnfold.errors import InputError
from bnfold.export import read_bundle
from bnfold.graph import load, save
from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import open_session
from tests.export.bundles import inputs, network, write


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_evidence_is_of_the_unfolded_network(tmp_path: Path) -> None:
    """Outputs are the oracle's in float64, the baseline is the runtime's without optimizations, bit for bit."""
    bundle = write(tmp_path / "bundle")
    expected = Oracle(network()).run(inputs())["logits"]
    np.testing.assert_array_equal(bundle.outputs["logits"], expected)
    save(network(), tmp_path / "network.onnx")
    with open_session(tmp_path / "network.onnx", optimized=False) as session:
        parts = [session.run({"images": inputs()["images"][start : start + 32]})["logits"] for start in (0, 32)]
    np.testing.assert_array_equal(bundle.baseline["logits"], np.concatenate(parts))


def test_the_model_is_the_folded_one_and_says_so(tmp_path: Path) -> None:
    """No normalization is left, and the metadata tells version, source and fold."""
    bundle = write(tmp_path / "bundle", provenance={"sha256": "5" * 64})
    model = load(bundle.model_path)
    assert "BatchNormalization" not in {node.op_type for node in model.graph}
    assert model.metadata_props["bnfold.version"] == __version__ == bundle.manifest.versions["bnfold"]
    assert model.metadata_props["bnfold.source_sha256"] == "5" * 64
    assert json.loads(model.metadata_props["bnfold.fold"])["removed"] == 1
    assert bundle.manifest.opset == 17
    assert [(port.name, port.type, port.shape) for port in bundle.manifest.inputs] == [
        ("images", "float", ("batch", 3, 6, 5))
    ]
    assert json.loads((bundle.folder / "fold.json").read_text())["batch_norms"][0]["into"]


def test_without_a_sources_hash_the_graphs_is_taken(tmp_path: Path) -> None:
    """It is that of the unfolded graph as a file."""
    stamps = [load(write(tmp_path / name).model_path).metadata_props["bnfold.source_sha256"] for name in ("a", "b")]
    assert stamps[0] == stamps[1]
    assert len(stamps[0]) == 64


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    """Twice in this process, and in another one with another hash seed."""
    write(tmp_path / "a")
    script = f"from pathlib import Path; from tests.export.bundles import write; write(Path({str(tmp_path / 'b')!r}))"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONHASHSEED": "3"})
    first, second = digests(tmp_path / "a"), digests(tmp_path / "b")
    if "torch" in sys.modules:  # another test of this process has imported it, and the manifest says so
        del first["manifest.json"], second["manifest.json"]
    assert first == second


def test_an_existing_bundle_is_replaced_only_with_force(tmp_path: Path) -> None:
    """As a whole: nothing of the old one remains."""
    folder = tmp_path / "bundle"
    write(folder, provenance={"kind": "first"})
    with pytest.raises(InputError, match="already exists"):
        write(folder)
    (folder / "left over").touch()
    write(folder, force=True, provenance={"kind": "second"})
    assert read_bundle(folder).manifest.provenance == {"kind": "second"}


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    """Not even with force: a folder of someone's, and a file."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "precious").touch()
    file.touch()
    for path in (folder, file):
        with pytest.raises(InputError, match="exists and is no bundle"):
            write(path, force=True)
    assert (folder / "precious").exists()


class Unprintable:
    """Raises when it is written."""

    def __str__(self) -> str:
        """Raise."""
        raise KeyError("interrupted")


def test_a_failure_while_writing_leaves_the_old_bundle(tmp_path: Path) -> None:
    """The model is written by then, the manifest fails; the old bundle is whole, and nothing lies beside it."""
    folder = tmp_path / "bundle"
    before = digests(write(folder).folder)
    with pytest.raises(KeyError, match="interrupted"):
        write(folder, force=True, provenance={"what": Unprintable()})
    assert digests(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    """Below a regular file, also as root, and before the evidence is computed."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, expected a directory"):
        write(tmp_path / "file" / "bundle", original=None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    for wrong in ({}, {"other": inputs()["images"]}, {"images": inputs()["images"][:, :2]}):
        with pytest.raises(InputError, match="image"):
            write(tmp_path / "bundle", inputs=wrong)
    assert not (tmp_path / "bundle").exists()


def test_external_data_belongs_to_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above protobuf's limit the weights lie beside the model, with a hash of their own."""
    monkeypatch.setattr(import_module("bnfold.graph.save"), "PROTOBUF_LIMIT", 2**26)
    bundle = write(tmp_path / "bundle")
    assert "model.onnx.data" in bundle.manifest.files
    weights = {value.name: value.const_value for value in load(bundle.model_path).graph.initializers.values()}
    assert all(tensor is not None and np.isfinite(tensor.numpy()).all() for tensor in weights.values())
    content = bytearray((bundle.folder / "model.onnx.data").read_bytes())
    content[5] ^= 1
    (bundle.folder / "model.onnx.data").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx\.data: changed"):
        read_bundle(bundle.folder)


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    """As it stands, in the folder of the bundle."""
    folder = write(tmp_path / "bundle").folder
    text = (folder / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0] + "print(outputs['logits'].shape)"
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert result.stdout == "(1, 4)\n"


def test_the_server_is_told_what_the_model_takes(tmp_path: Path) -> None:
    """In Triton's words, and it fills no larger batch than the golden samples have."""
    text = (write(tmp_path / "bundle").folder / "config.pbtxt").read_text()
    assert 'input {\n  name: "images"\n  data_type: TYPE_FP32\n  dims: [3, 6, 5]\n}\n' in text
    assert "max_batch_size: 32\n" in text


def test_the_readmes_cpp_feeds_every_input(tmp_path: Path) -> None:
    """By its name, with its extents and type."""
    code = (write(tmp_path / "bundle").folder / "README.md").read_text().split("```cpp\n")[1].split("```")[0]
    assert "shape0 = {1, 3, 6, 5};  // images" in code
    assert "CreateTensor<float>(allocator, shape0.data(), shape0.size())" in code
    assert 'output_names = {"logits"}' in code
