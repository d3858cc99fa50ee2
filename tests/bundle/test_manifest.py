"""Tests of ``bnfold.bundle.manifest``: one text for one manifest, and no text taken for one that is none."""

import json
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import pytest

from bnfold.bundle.manifest import PRECISIONS, FileEntry, MalformedManifestError, Manifest, Port
from bnfold.verify.rounding import UNIT_ROUNDOFF

MANIFEST = Manifest(
    files={"model.onnx": FileEntry("0" * 64, 12)},
    opset=17,
    inputs=(Port("images", "float", ("batch", 3, None)), Port("any", "int64", None)),
    outputs=(Port("logits", "float", ("batch", 4)),),
    samples=5,
    precision="float16",
    fold={"removed": 2},
    provenance={"kind": "test"},
    versions={"numpy": "2.0"},
)


def edited(edit: Callable[[dict[str, Any]], object]) -> str:
    """Return the manifest's text after an edit of its data."""
    data = json.loads(MANIFEST.to_json())
    edit(data)
    return json.dumps(data)


def test_a_manifest_comes_back() -> None:
    """From its own text, equal in every field."""
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_a_port_is_read_off_a_value() -> None:
    """Its type in ONNX's words, symbols by name, None for what is not known."""
    value = ir.val("x", ir.DataType.FLOAT16, ["batch", 3, None])
    assert Port.of(value) == Port("x", "float16", ("batch", 3, None))
    assert Port.of(ir.Value(name="y")) == Port("y", "unknown", None)


@pytest.mark.parametrize("text", ["", "{", "nonsense", "\xff", "[" * 100000, '{"schema": 1'])
def test_what_is_not_json_is_refused(text: str) -> None:
    """Truncated, arbitrary, and nested without end."""
    with pytest.raises(MalformedManifestError, match="it is not JSON"):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    "text", ["[]", "3", "null", "{}", '{"schema": "bnfold.bundle/2"}', '{"schema": ["bnfold.bundle/1"]}']
)
def test_another_schema_is_refused(text: str) -> None:
    """Of another version, or none."""
    with pytest.raises(MalformedManifestError, match=r"expected schema bnfold\.bundle/1, found"):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    "key", ["files", "opset", "inputs", "outputs", "samples", "precision", "fold", "provenance", "versions"]
)
def test_a_missing_or_mistyped_entry_is_refused(key: str) -> None:
    """Each by name."""
    with pytest.raises(MalformedManifestError, match=f"{key} is missing"):
        Manifest.from_json(edited(lambda data: data.pop(key)))
    for wrong in ("text", None, True):
        with pytest.raises(MalformedManifestError, match=f"{key} is malformed"):
            Manifest.from_json(edited(lambda data, wrong=wrong: data.update({key: wrong})))


def test_the_precisions_are_those_that_have_a_roundoff() -> None:
    """Whatever `verify` scales its limits by can be written, and nothing else can be read."""
    assert set(PRECISIONS) == {dtype.name.lower() for dtype in UNIT_ROUNDOFF}
    with pytest.raises(MalformedManifestError, match=r"precision is malformed: expected one of .*, found 'int8'"):
        Manifest.from_json(edited(lambda data: data.update(precision="int8")))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"sha256": "0" * 64},
        {"sha256": "0" * 63, "bytes": 1},
        {"sha256": "G" * 64, "bytes": 1},
        {"sha256": 0, "bytes": 1},
        {"sha256": "0" * 64, "bytes": True},
        {"sha256": "0" * 64, "bytes": 1, "more": 1},
    ],
)
def test_a_malformed_file_entry_is_refused(entry: object) -> None:
    """No hash, no size, or too much."""
    with pytest.raises(MalformedManifestError, match=r"model\.onnx"):
        Manifest.from_json(edited(lambda data: data["files"].update({"model.onnx": entry})))


@pytest.mark.parametrize(
    "port",
    [
        None,
        {"name": "x"},
        {"name": 1, "type": "float", "shape": []},
        {"name": "x", "type": None, "shape": []},
        {"name": "x", "type": "float", "shape": 3},
        {"name": "x", "type": "float", "shape": [1.5]},
        {"name": "x", "type": "float", "shape": [True]},
    ],
)
def test_a_malformed_port_is_refused(port: object) -> None:
    """Whatever stands in the list of inputs or outputs."""
    for key in ("inputs", "outputs"):
        with pytest.raises(MalformedManifestError, match="malformed"):
            Manifest.from_json(edited(lambda data, key=key: data.update({key: [port]})))
