"""Tests of ``bnfold.export.stamp`` and ``versions``: a model says what made it."""

import json
import sys
from importlib.util import find_spec

import onnx_ir as ir
import pytest
from onnx import parser

from bnfold import __version__
from bnfold.export import stamp
from bnfold.export.stamp import summary
from bnfold.export.versions import versions

REPORT: dict[str, object] = {
    "schema": "bnfold.fold/1",
    "removed": 3,
    "nodes": {"before": 9.0},
    "batch_norms": [{}],
    "p": (),
}


def model() -> ir.Model:
    """Return a graph with a key of the user's."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (float[N] y) { y = Relu(x) }'
    parsed = ir.from_proto(parser.parse_model(text))
    parsed.metadata_props["author"] = "me"
    return parsed


def test_the_stamp_survives_the_file() -> None:
    """Version, source and the fold's figures, beside the user's keys."""
    stamped = model()
    stamp(stamped, REPORT, source_sha256="ab" * 32)
    properties = ir.from_proto(ir.to_proto(stamped)).metadata_props
    assert properties["bnfold.version"] == __version__
    assert properties["bnfold.source_sha256"] == "ab" * 32
    assert json.loads(properties["bnfold.fold"]) == summary(REPORT)
    assert properties["author"] == "me"


def test_a_second_stamp_replaces_the_first() -> None:
    """The keys are there once."""
    stamped = model()
    stamp(stamped, REPORT, source_sha256="1" * 64)
    stamp(stamped, {"removed": 0}, source_sha256="2" * 64)
    assert stamped.metadata_props["bnfold.source_sha256"] == "2" * 64
    assert json.loads(stamped.metadata_props["bnfold.fold"]) == {"removed": 0}


def test_the_summary_leaves_the_lists_out() -> None:
    """Figures only."""
    assert summary(REPORT) == {"schema": "bnfold.fold/1", "removed": 3, "nodes": {"before": 9.0}}


def test_versions_name_what_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch is named where it has been imported, and what is not installed is not named."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = versions()
    assert found["bnfold"] == __version__
    assert {"numpy", "onnx", "onnx-ir", "onnxscript", "safetensors"} <= found.keys()
    assert "torch" not in found
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert ("torch" in versions()) is (find_spec("torch") is not None)
