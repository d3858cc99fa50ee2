"""The bundle, written: evidence computed from the unfolded graph, then everything in one folder at once."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import safetensors.numpy

from bnfold.bundle.layout import FOLD, GOLDEN, MANIFEST, MODEL, README, TRACE, TRITON
from bnfold.bundle.manifest import FileEntry, Manifest, Port
from bnfold.bundle.reader import Arrays, Bundle, read_bundle
from bnfold.errors import InputError
from bnfold.export.golden import Golden, compute_golden
from bnfold.export.readme import readme
from bnfold.export.stamp import stamp, summary
from bnfold.export.target import TargetReport
from bnfold.export.triton import triton_config
from bnfold.export.versions import versions
from bnfold.files import atomic_directory, require_output, sha256
from bnfold.graph import save
from bnfold.json_text import canonical_json
from bnfold.verify.samples import LARGEST_BATCH, batch_of
from bnfold.verify.signature import Signature
from bnfold.verify.trace import take_trace


def write_bundle(
    folder: Path,
    *,
    model: ir.Model,
    original: ir.Model,
    inputs: Arrays,
    fold_report: Mapping[str, object],
    provenance: Mapping[str, object],
    force: bool,
    max_shard_size: int | None = None,
    target: TargetReport | None = None,
) -> Bundle:
    """Write ``model`` and the evidence that it is ``original`` to ``folder``, all at once, and return it as read back.

    The same arguments give the same bytes, on the same machine and with the same versions.

    Args:
        folder: the bundle.
        model: the graph to serve; gets the stamp of `bnfold.export.stamp`.
        original: the unfolded graph, which the evidence is computed from.
        inputs: golden inputs by name, ``(N, *sample)``.
        fold_report: what `bnfold.folding.FoldReport.to_dict` returns.
        provenance: where the graph came from; ``sha256`` in it, if any, is the source's hash.
        force: replace the bundle that is at ``folder``. What is no bundle is never replaced.
        max_shard_size: as `bnfold.graph.save`; side files are listed in the manifest with their hashes, too.
        target: what ONNX Runtime made of ``model``, if it was fused: README and server configuration say so.

    Raises:
        InputError: the folder is in the way or cannot be written, or as `compute_golden`.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    require_output(folder, force=force)
    _require_replaceable(folder)
    golden = compute_golden(original, inputs)
    trace = take_trace(original, model, batch_of(inputs, slice(0, Signature.of(original).fixed_batch or 1)))
    stamp(model, fold_report, source_sha256=str(provenance.get("sha256", golden.graph_sha256)))
    with atomic_directory(folder) as new:
        save(model, new / MODEL, max_shard_size=max_shard_size)
        (new / GOLDEN).write_bytes(_packed(golden))
        if trace is not None:
            (new / TRACE).write_bytes(trace.to_bytes())
        (new / FOLD).write_text(canonical_json(fold_report), encoding="utf-8")
        manifest = Manifest(
            files={},
            opset=model.graph.opset_imports[""],
            inputs=tuple(Port.of(value) for value in model.graph.inputs if value.name not in model.graph.initializers),
            outputs=tuple(map(Port.of, model.graph.outputs)),
            samples=golden.samples,
            precision=golden.precision.name.lower(),
            fold=summary(fold_report),
            provenance=provenance,
            versions=versions(),
        )
        (new / README).write_text(readme(manifest, MODEL, traced=trace is not None, target=target), encoding="utf-8")
        batch = min(golden.samples, LARGEST_BATCH)
        config = triton_config(manifest.inputs, manifest.outputs, largest_batch=batch, cpu_only=target is not None)
        (new / TRITON).write_text(config, encoding="utf-8")
        files = {path.name: FileEntry(sha256(path), path.stat().st_size) for path in sorted(new.iterdir())}
        (new / MANIFEST).write_text(replace(manifest, files=files).to_json(), encoding="utf-8")
    return read_bundle(folder)


def _require_replaceable(folder: Path) -> None:
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: exists and is no bundle; choose another name.")


def _packed(golden: Golden) -> bytes:
    parts = {"input": golden.inputs, "output": golden.outputs, "baseline": golden.baseline}
    named = {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
    return safetensors.numpy.save({name: array.copy() for name, array in named.items()})  # copies are contiguous
