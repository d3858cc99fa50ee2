"""The bundle, read: a folder with a model and the evidence that it is the network that it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bnfold.bundle.layout import FOLD, GOLDEN, MANIFEST, MODEL, README, TRACE
from bnfold.bundle.manifest import MalformedManifestError, Manifest, Port
from bnfold.bundle.tensors import read_tensors
from bnfold.bundle.trace import MalformedTraceError, Trace
from bnfold.errors import InputError
from bnfold.files import require_directory, sha256

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are all there and are what its manifest says.

    Attributes:
        folder: where it is.
        manifest: what it says about itself.
        inputs: golden inputs by name, ``(N, *sample)``.
        outputs: float64 outputs of the unfolded graph by the oracle, by name, ``(N, *sample)``.
        baseline: outputs of the unfolded graph on ONNX Runtime's CPU provider, optimizations off, in their own type.
        trace: what the values inside the model have to be; None where the bundle has none.
    """

    folder: Path
    manifest: Manifest
    inputs: Arrays
    outputs: Arrays
    baseline: Arrays
    trace: Trace | None = None

    @property
    def model_path(self) -> Path:
        """The model's file."""
        return self.folder / MODEL

    @property
    def precision(self) -> ir.DataType:
        """The coarsest floating-point type that the unfolded graph stores a weight in."""
        return ir.DataType[self.manifest.precision.upper()]


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle, trusting nothing in it: every file is held to its hash before it is opened.

    Raises:
        InputError: no such folder, no bundle, a manifest that is malformed or of another version, a file that is
            missing, changed, a link, or not in the manifest, a name that leaves the folder, or golden data that does
            not fit the manifest. The message names the file.
    """
    require_directory(folder)
    manifest = _read_manifest(folder / MANIFEST)
    for name in (MODEL, GOLDEN, FOLD, README):
        if name not in manifest.files:
            raise InputError(f"{folder / MANIFEST}: malformed manifest: {name} is not listed.")
    _check_files(folder, manifest)
    golden = _read_golden(folder / GOLDEN)
    inputs, outputs, baseline = (_part(golden, part) for part in ("input", "output", "baseline"))
    for kind, ports, arrays in (
        ("input", manifest.inputs, inputs),
        ("output", manifest.outputs, outputs),
        ("baseline", manifest.outputs, baseline),
    ):
        _check_golden(folder / GOLDEN, kind, ports, arrays, manifest.samples)
    if len(golden) != len(inputs) + len(outputs) + len(baseline):
        raise InputError(f"{folder / GOLDEN}: tensors that are neither input, output nor baseline.")
    return Bundle(folder, manifest, inputs, outputs, baseline, _read_trace(folder / TRACE, manifest))


def _read_trace(path: Path, manifest: Manifest) -> Trace | None:
    if path.name not in manifest.files:
        return None
    try:
        trace = Trace.from_file(str(path))
    except MalformedTraceError as error:
        raise InputError(f"{path}: {error}.") from error
    if trace.samples > manifest.samples:
        raise InputError(f"{path}: of {trace.samples} golden samples, the bundle has {manifest.samples}.")
    return trace


def _read_manifest(path: Path) -> Manifest:
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path.parent}: not a bundle, it has no {path.name}.")
    try:
        return Manifest.from_json(path.read_bytes())
    except MalformedManifestError as error:
        raise InputError(f"{path}: malformed manifest: {error}.") from error


def _check_files(folder: Path, manifest: Manifest) -> None:
    found = {path.name: path for path in folder.iterdir()}
    for name in sorted(found.keys() - manifest.files.keys() - {MANIFEST}):
        raise InputError(f"{found[name]}: not in the bundle's manifest.")
    for name, entry in manifest.files.items():
        path = folder / name
        if name not in found:
            raise InputError(f"{path}: missing, the bundle's manifest lists it.")
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: expected a file, found a link or a folder.")
        if path.stat().st_size != entry.bytes or sha256(path) != entry.sha256:
            raise InputError(f"{path}: changed since the bundle was written, its SHA-256 is not the manifest's.")


def _read_golden(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        return read_tensors(path)
    except ValueError as error:
        raise InputError(f"{path}: not a safetensors file that NumPy can hold: {error}.") from error


def _part(golden: Arrays, part: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(f"{part}/"): array for name, array in golden.items() if name.startswith(f"{part}/")}


def _check_golden(path: Path, kind: str, ports: tuple[Port, ...], arrays: Arrays, samples: int) -> None:
    expected = [port.name for port in ports]
    if sorted(expected) != sorted(arrays):
        raise InputError(f"{path}: golden {kind}s: expected {', '.join(expected)}, found {', '.join(sorted(arrays))}.")
    for name, array in arrays.items():
        if array.ndim and len(array) != samples:
            raise InputError(f"{path}: golden {kind} {name}: expected {samples} samples, found {len(array)}.")
        if kind == "output" and array.dtype != np.float64:
            raise InputError(f"{path}: golden output {name}: expected float64, found {array.dtype}.")
