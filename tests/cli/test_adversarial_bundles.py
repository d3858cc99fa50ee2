"""Bundles that somebody has tampered with: one line, exit code 2, and nothing written, whatever is done to them."""

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy
from onnx import external_data_helper

from bnfold.files import sha256
from tests.cli.running import Run, snapshot
from tests.export.bundles import write

BUNDLE, OUTSIDE = Path("bundle"), Path("outside.bin")

Tampering = Callable[[], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a bundle once."""
    return write(tmp_path_factory.mktemp("pristine") / "bundle").folder


@pytest.fixture(autouse=True)
def place(pristine: Path) -> None:
    """A bundle in the working folder, and a file beside it that is none of its business."""
    shutil.copytree(pristine, BUNDLE)
    OUTSIDE.write_bytes(b"secret" * 1000)


def manifest_text(edit: Callable[[str], str]) -> Tampering:
    """Change the text of the manifest."""

    def tamper() -> None:
        path = BUNDLE / "manifest.json"
        text = path.read_text(encoding="utf-8")
        changed = edit(text)
        assert changed != text
        path.write_text(changed, encoding="utf-8")

    return tamper


def manifest(edit: Callable[[dict[str, Any]], object]) -> Tampering:
    """Change the data of the manifest."""

    def change(text: str) -> str:
        data = json.loads(text)
        edit(data)
        return json.dumps(data)

    return manifest_text(change)


def forged(name: str, content: Callable[[bytes], bytes]) -> Tampering:
    """Change a file, and its hash and size in the manifest with it."""

    def tamper() -> None:
        path = BUNDLE / name
        path.write_bytes(content(path.read_bytes()))
        entry = {"sha256": sha256(path), "bytes": path.stat().st_size}
        manifest(lambda data: data["files"].update({name: entry}))()

    return tamper


def external(location: str, *, offset: int = 0, length: int | None = None) -> Callable[[bytes], bytes]:
    """Let the first large weight of the model lie in another file."""

    def change(content: bytes) -> bytes:
        model = onnx.load_from_string(content)
        tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        size = len(tensor.raw_data)
        external_data_helper.set_external_data(tensor, location, offset, size if length is None else length)
        tensor.ClearField("raw_data")
        return model.SerializeToString()

    return change


def dims(*extents: int) -> Callable[[bytes], bytes]:
    """Let the first large weight of the model say that it is of another shape."""

    def change(content: bytes) -> bytes:
        model = onnx.load_from_string(content)
        tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        tensor.dims[:] = extents
        return model.SerializeToString()

    return change


def header(edit: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Change the header of a safetensors file."""

    def change(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        data = json.loads(content[8 : 8 + length])
        edit(data)
        text = json.dumps(data).encode()
        return struct.pack("<Q", len(text)) + text + content[8 + length :]

    return change


def golden(edit: Callable[[dict[str, np.ndarray]], object]) -> Callable[[bytes], bytes]:
    """Change the golden tensors."""

    def change(content: bytes) -> bytes:
        tensors = safetensors.numpy.load(content)
        edit(tensors)
        return safetensors.numpy.save(tensors)

    return change


def replaced_by_link(name: str, target: Path) -> Tampering:
    """Put a link in the place of a file."""

    def tamper() -> None:
        (BUNDLE / name).unlink()
        (BUNDLE / name).symlink_to(target.absolute())

    return tamper


def entry(name: str, **values: object) -> Tampering:
    """Add a file to the manifest, or change what it says of one."""
    return manifest(lambda data: data["files"].setdefault(name, {"sha256": "0" * 64, "bytes": 7}).update(values))


TAMPERINGS: dict[str, tuple[Tampering, str]] = {
    # the manifest as a text
    "manifest cut short": (manifest_text(lambda text: text[: len(text) // 2]), "malformed manifest: it is not JSON"),
    "manifest empty": (manifest_text(lambda _: ""), "malformed manifest: it is not JSON"),
    "manifest of nothing but brackets": (manifest_text(lambda _: "[" * 10**6), "it is not JSON: it nests too deeply"),
    "a key twice": (
        manifest_text(lambda text: text.replace("{", '{"samples": 1,', 1)),
        "the key 'samples' stands there twice",
    ),
    "a file twice": (
        manifest_text(
            lambda text: text.replace('"files": {', '"files": {"model.onnx": {"sha256": "0", "bytes": 0},', 1)
        ),
        r"the key 'model\.onnx' stands there twice",
    ),
    "NaN": (manifest_text(lambda text: re.sub(r'"samples": \d+', '"samples": NaN', text)), "NaN is no number"),
    "an infinity": (
        manifest_text(lambda text: re.sub(r'"samples": \d+', '"samples": 1e999', text)),
        "1e999 is no number",
    ),
    "a number of a million digits": (
        manifest_text(lambda text: re.sub(r'"samples": \d+', f'"samples": {"9" * 10**6}', text)),
        "it is not JSON",
    ),
    "a newer schema": (
        manifest(lambda data: data.update(schema="bnfold.bundle/2")),
        "expected schema bnfold.bundle/1, found 'bnfold.bundle/2'",
    ),
    "no schema": (manifest(lambda data: data.pop("schema")), "expected schema bnfold.bundle/1, found None"),
    # names
    "a parent folder": (entry("../outside.bin"), "no plain file name"),
    "an absolute path": (entry("/etc/passwd"), "no plain file name"),
    "a path of Windows": (entry("..\\outside.bin"), "no plain file name"),
    "a NUL in a name": (entry("model.onnx\0.txt"), "no plain file name"),
    "a line break in a name": (entry("a\nerror: all is well"), "no plain file name"),
    "an escape sequence in a name": (entry("a\x1b[2Jb"), "no plain file name"),
    # sizes and hashes
    "a wrong hash": (entry("model.onnx", sha256="0" * 64), r"model\.onnx: changed since the bundle was written"),
    "a huge size": (entry("model.onnx", bytes=10**30), r"model\.onnx: changed since the bundle was written"),
    "a negative size": (entry("model.onnx", bytes=-1), r"model\.onnx: changed since the bundle was written"),
    "a huge number of samples": (
        manifest(lambda data: data.update(samples=10**30)),
        r"golden input images: expected 1000000000000000000000000000000 samples, found 37",
    ),
    # links
    "a link to outside": (replaced_by_link("model.onnx", OUTSIDE), r"model\.onnx: expected a file, found a link"),
    "a link to a device": (replaced_by_link("golden.safetensors", Path("/dev/zero")), "expected a file, found a link"),
    "a manifest that is a link": (replaced_by_link("manifest.json", OUTSIDE), "not a bundle, it has no manifest"),
    "a pipe": (lambda: ((BUNDLE / "fold.json").unlink(), os.mkfifo(BUNDLE / "fold.json")), "expected a file, found a"),
    # the model, its hash being right
    "a model cut short": (forged("model.onnx", lambda content: content[: len(content) // 2]), r"model\.onnx: "),
    "a model of noise": (
        forged("model.onnx", lambda _: b"\xff" * 4096),
        r"model\.onnx: not an ONNX file",
    ),
    "external data in a parent folder": (
        forged("model.onnx", external("../outside.bin")),
        "outside the model's",
    ),
    "external data at an absolute path": (forged("model.onnx", external("/etc/passwd")), "outside the model's"),
    "external data that leaves and comes back": (
        forged("model.onnx", external("../bundle/golden.safetensors")),
        "outside the model's",
    ),
    "external data that is not there": (forged("model.onnx", external("weights.bin")), r"weights\.bin .* is missing"),
    "external data behind the end": (
        forged("model.onnx", external("README.md", offset=2**62)),
        r"README\.md is truncated",
    ),
    "external data of a negative offset": (forged("model.onnx", external("README.md", offset=-8)), r"model\.onnx: "),
    "a weight of exabytes": (forged("model.onnx", dims(2**31, 2**31)), "not as long as its shape"),
    "a weight whose extents overflow": (forged("model.onnx", dims(2**40, 2**40)), "not as long as its shape"),
    "a weight of a negative extent": (forged("model.onnx", dims(-4, -27)), r"model\.onnx: "),
    # golden data, their hash being right
    "golden data of a huge header": (
        forged("golden.safetensors", lambda content: struct.pack("<Q", 2**60) + content[8:]),
        "not a safetensors file",
    ),
    "golden data of a huge tensor": (
        forged("golden.safetensors", header(lambda data: data["output/logits"].update(shape=[2**40, 2**20]))),
        "not a safetensors file",
    ),
    "golden data that overlap": (
        forged(
            "golden.safetensors",
            header(lambda data: data["output/logits"].update(data_offsets=data["input/images"]["data_offsets"])),
        ),
        "not a safetensors file",
    ),
    "golden data of another input": (
        forged("golden.safetensors", golden(lambda tensors: tensors.update({"input/z": tensors.pop("input/images")}))),
        "golden inputs: expected images, found z",
    ),
    "a trace of noise": (forged("trace.safetensors", lambda _: b"\0" * 100), r"trace\.safetensors: not a trace"),
    "a trace with a key twice": (
        forged(
            "trace.safetensors",
            header(
                lambda data: data["__metadata__"].update(
                    trace=data["__metadata__"]["trace"].replace("{", '{"samples": 1, ', 1)
                )
            ),
        ),
        "not a trace: the key 'samples' stands there twice",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_bundle_that_was_tampered_with_is_refused(bnfold: Run, name: str) -> None:
    """Nothing runs, nothing is read from outside, no report is written, and the line says what is wrong."""
    tamper, words = TAMPERINGS[name]
    tamper()
    before = snapshot()
    outcome = bnfold("verify", BUNDLE, "--report", "verdict.json", "--report", "verdict.html")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    assert outcome.err.startswith("error: ")
    assert outcome.err.rstrip("\n").isprintable()
    assert "secret" not in outcome.err
    assert re.search(words, outcome.err), outcome.err
    assert snapshot() == before


def test_the_bundle_itself_is_equivalent(bnfold: Run) -> None:
    """The control: nothing but the tampering is refused."""
    outcome = bnfold("verify", BUNDLE, "--report", "verdict.json", "--mutants", "2")
    assert (outcome.code, Path("verdict.json").is_file()) == (0, True), outcome
