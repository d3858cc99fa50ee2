"""Where an exported model says what made it: its own metadata."""

from collections.abc import Mapping

import onnx_ir as ir

from bnfold import __version__
from bnfold.json_text import canonical_json


def summary(fold_report: Mapping[str, object]) -> dict[str, object]:
    """Return the figures of a fold report and of the reports in it, without their account of every node."""
    figures = {key: value for key, value in fold_report.items() if not isinstance(value, list | tuple)}
    return {key: summary(value) if isinstance(value, Mapping) else value for key, value in figures.items()}


def stamp(model: ir.Model, fold_report: Mapping[str, object], *, source_sha256: str) -> None:
    """Write into the metadata of ``model``, in place: bnfold's version, its source's hash, and the fold in figures.

    The keys are ``bnfold.version``, ``bnfold.source_sha256`` and ``bnfold.fold`` (JSON); other keys stay.
    """
    model.metadata_props["bnfold.version"] = __version__
    model.metadata_props["bnfold.source_sha256"] = source_sha256
    model.metadata_props["bnfold.fold"] = canonical_json(summary(fold_report)).strip()
