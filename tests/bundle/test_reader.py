"""Tests of ``bnfold.bundle.reader``: whatever has been done to a bundle is seen, and named."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import safetensors.numpy

from bnfold.bundle.reader import read_bundle
from bnfold.errors import InputError
from tests.export.bundles import SAMPLES, inputs, write

FILES = ("README.md", "fold.json", "golden.safetensors", "model.onnx")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a bundle once."""
    return write(tmp_path_factory.mktemp("pristine") / "bundle").folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """Return a copy of the bundle to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as JSON."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def rehash(folder: Path, name: str) -> None:
    """Make the manifest agree with a file, as someone would who tampers with both."""
    content = (folder / name).read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, lambda data: data["files"].update({name: entry}))


def edit_golden(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the golden tensors, and the manifest with them."""
    path = folder / "golden.safetensors"
    tensors = safetensors.numpy.load_file(path)
    edit(tensors)
    safetensors.numpy.save_file(tensors, path)
    rehash(folder, path.name)


def test_what_was_written_is_read(folder: Path) -> None:
    """Inputs as given, float64 outputs, a baseline in the graph's own precision, that precision, and the report."""
    bundle = read_bundle(folder)
    np.testing.assert_array_equal(bundle.inputs["images"], inputs()["images"])
    assert bundle.outputs["logits"].dtype == np.float64
    assert bundle.baseline["logits"].dtype == np.float32
    assert bundle.outputs["logits"].shape == bundle.baseline["logits"].shape == (SAMPLES, 4)
    assert bundle.model_path == folder / "model.onnx"
    assert bundle.manifest.fold["removed"] == 1
    assert bundle.precision is ir.DataType.FLOAT


def test_a_link_to_the_folder_is_followed(folder: Path, tmp_path: Path) -> None:
    """The bundle itself may lie anywhere."""
    (tmp_path / "link").symlink_to(folder)
    assert read_bundle(tmp_path / "link").manifest == read_bundle(folder).manifest


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_seen(folder: Path, name: str) -> None:
    """In the middle of any file."""
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: changed since the bundle was written"):
        read_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_seen(folder: Path, name: str) -> None:
    """By one byte."""
    os.truncate(folder / name, (folder / name).stat().st_size - 1)
    with pytest.raises(InputError, match=f"{name}: changed since the bundle was written"):
        read_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_seen(folder: Path, name: str) -> None:
    """The manifest lists it."""
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: missing"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["run.py", ".hidden", "model.onnx.data"])
def test_an_extra_file_is_seen(folder: Path, name: str) -> None:
    """Nothing travels in a bundle that its manifest does not list."""
    (folder / name).write_text("surprise")
    with pytest.raises(InputError, match=f"{name}: not in the bundle's manifest"):
        read_bundle(folder)


def test_an_extra_folder_is_seen(folder: Path) -> None:
    """Also an empty one."""
    (folder / "folder").mkdir()
    with pytest.raises(InputError, match="folder: not in the bundle's manifest"):
        read_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file_is_seen(folder: Path, tmp_path: Path, name: str) -> None:
    """Even to the very same content: it could change after the check."""
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: expected a file, found a link"):
        read_bundle(folder)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """A missing folder, a file, an empty folder, and a manifest that is a link."""
    with pytest.raises(InputError, match="no such directory"):
        read_bundle(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a directory, found a file"):
        read_bundle(tmp_path / "file")
    with pytest.raises(InputError, match=r"not a bundle, it has no manifest\.json"):
        read_bundle(tmp_path)
    (tmp_path / "manifest.json").symlink_to(tmp_path / "file")
    with pytest.raises(InputError, match=r"not a bundle, it has no manifest\.json"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "deep/file", "..", ".", "", "a\\b", "C:x", "a\nb", "a\0b"]
)
def test_a_name_that_could_leave_the_folder_is_refused(folder: Path, name: str) -> None:
    """Before anything is opened under it."""
    (folder.parent / "outside").write_text("outside")
    edit_manifest(folder, lambda data: data["files"].update({name: {"sha256": "0" * 64, "bytes": 7}}))
    with pytest.raises(InputError, match=r"manifest\.json: malformed manifest: .* is no plain file name"):
        read_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_the_manifest_does_not_list_is_missed(folder: Path, name: str) -> None:
    """Each of the four belongs to every bundle."""
    (folder / name).unlink()
    edit_manifest(folder, lambda data: data["files"].pop(name))
    with pytest.raises(InputError, match=f"malformed manifest: {name} is not listed"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda tensors: tensors.pop("output/logits"), "golden outputs: expected logits, found "),
        (lambda tensors: tensors.pop("input/images"), "golden inputs: expected images, found "),
        (lambda tensors: tensors.pop("baseline/logits"), "golden baselines: expected logits, found "),
        (
            lambda tensors: tensors.update({"output/more": np.ones(3)}),
            "golden outputs: expected logits, found logits, more",
        ),
        (lambda tensors: tensors.update(more=np.ones(3)), "tensors that are neither input, output nor baseline"),
        (
            lambda tensors: tensors.update({"output/logits": tensors["output/logits"].astype(np.float32)}),
            "golden output logits: expected float64, found float32",
        ),
        (
            lambda tensors: tensors.update({"baseline/logits": tensors["baseline/logits"][:5]}),
            "golden baseline logits: expected 37 samples, found 5",
        ),
    ],
)
def test_golden_data_that_does_not_fit_is_refused(
    folder: Path, edit: Callable[[dict[str, Any]], object], reason: str
) -> None:
    """Also where its hash is right."""
    edit_golden(folder, edit)
    with pytest.raises(InputError, match=rf"golden\.safetensors: {reason}"):
        read_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      "[:15]])
def test_golden_data_that_is_no_safetensors_is_refused(folder: Path, content: bytes) -> None:
    """Also where its hash is right."""
    (folder / "golden.safetensors").write_bytes(content)
    rehash(folder, "golden.safetensors")
    with pytest.raises(InputError, match=r"golden\.safetensors: not a safetensors file"):
        read_bundle(folder)
