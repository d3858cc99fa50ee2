"""The manifest of a bundle: which files belong to it, what its model takes and gives, and where all of it came from."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import onnx_ir as ir

from bnfold.json_text import canonical_json, strict_json

SCHEMA = "bnfold.bundle/1"

PRECISIONS = ("bfloat16", "float16", "float", "double")
"""What a graph may store its weights in, in ONNX's words, in lower case."""

_FILE_NAME = re.compile(r"\w[\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class MalformedManifestError(ValueError):
    """What is wrong with a manifest, as the second half of a sentence."""


@dataclass(frozen=True)
class Port:
    """One input or output of the model.

    Attributes:
        name: as in the graph.
        type: of its elements, in ONNX's words, in lower case (``float``, ``int64``).
        shape: one entry an axis: its extent, the name of a symbolic extent, or None where nothing is known; None as a
            whole where not even the rank is.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None

    @classmethod
    def of(cls, value: ir.Value) -> Self:
        """Read the port off a value of the graph."""
        shape = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
        return cls(value.name or "", "unknown" if value.dtype is None else value.dtype.name.lower(), shape)

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what `asdict` wrote.

        Raises:
            MalformedManifestError: it is not that.
        """
        _require(isinstance(data, dict) and data.keys() == {"name", "type", "shape"}, "an input or output is malformed")
        shape = data["shape"]
        _require(isinstance(data["name"], str) and isinstance(data["type"], str), "an input or output is malformed")
        _require(
            shape is None or (isinstance(shape, list) and all(dim is None or type(dim) in {int, str} for dim in shape)),
            f"the shape of {data['name']} is malformed",
        )
        return cls(data["name"], data["type"], None if shape is None else tuple(shape))


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle: what it has to be."""

    sha256: str
    bytes: int

    @classmethod
    def from_dict(cls, name: str, data: Any) -> Self:
        """Read what `asdict` wrote.

        Raises:
            MalformedManifestError: it is not that, or the name could lead out of the bundle.
        """
        _require(_FILE_NAME.fullmatch(name), f"{name!r} is no plain file name, a bundle has no folders inside")
        _require(isinstance(data, dict) and data.keys() == {"sha256", "bytes"}, f"the entry of {name} is malformed")
        _require(isinstance(data["sha256"], str) and _SHA256.fullmatch(data["sha256"]), f"the hash of {name} is none")
        _require(type(data["bytes"]) is int, f"the size of {name} is none")
        return cls(data["sha256"], data["bytes"])


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes:
        files: every other file of the bundle, by its path in it.
        opset: operator set of the model.
        inputs: what the model takes, in order.
        outputs: what the model gives, in order.
        samples: number of golden samples.
        precision: of the unfolded graph, the coarsest floating-point type that it stores a weight in: of `PRECISIONS`.
        fold: the fold report in figures; in full in ``fold.json``.
        provenance: where the model came from, in the words of who exported it.
        versions: of the distributions that took part, by name.
    """

    files: Mapping[str, FileEntry]
    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    samples: int
    precision: str
    fold: Mapping[str, object] = field(default_factory=dict[str, object])
    provenance: Mapping[str, object] = field(default_factory=dict[str, object])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> str:
        """Return the text of ``manifest.json``; equal manifests give equal texts."""
        return canonical_json({"schema": SCHEMA, **asdict(self)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            MalformedManifestError: it is not JSON, of another schema, or incomplete.
        """
        data = _parsed(text)
        for key, kind in _KINDS.items():
            _require(type(data[key]) is kind, f"{key} is malformed")
        _require(
            data["precision"] in PRECISIONS,
            f"precision is malformed: expected one of {', '.join(PRECISIONS)}, found {data['precision']!r}",
        )
        return cls(
            files={name: FileEntry.from_dict(name, entry) for name, entry in data["files"].items()},
            opset=data["opset"],
            inputs=tuple(map(Port.from_dict, data["inputs"])),
            outputs=tuple(map(Port.from_dict, data["outputs"])),
            samples=data["samples"],
            precision=data["precision"],
            fold=data["fold"],
            provenance=data["provenance"],
            versions=data["versions"],
        )


_KINDS = {
    "files": dict,
    "opset": int,
    "inputs": list,
    "outputs": list,
    "samples": int,
    "precision": str,
    "fold": dict,
    "provenance": dict,
    "versions": dict,
}
"""The entries of a manifest besides its schema, and what JSON makes of each."""


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        data = strict_json(text)
    except ValueError as error:
        raise MalformedManifestError(f"it is not JSON: {error}") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    _require(schema == SCHEMA, f"expected schema {SCHEMA}, found {schema!r}")
    missing = [name for name in _KINDS if name not in data]
    _require(not missing, f"{', '.join(missing)} is missing")
    return data


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise MalformedManifestError(problem)
