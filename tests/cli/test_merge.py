"""``fold --merge`` and the merging within ``export``: one Conv a block, and an account of it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.running import Run
from tests.folding.builder import Builder

CHANNELS = 4


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with two RepVGG blocks, the identity of the second with γ < 0, which no fold takes up."""
    b = Builder(dtype=np.float32)
    x = b.input("N", CHANNELS, 6, 5)
    for sign in (1.0, -1.0):
        dense = b.batch_norm(b.conv(x, CHANNELS, CHANNELS, 3, 3, pads=[1] * 4), CHANNELS)
        pointwise = b.batch_norm(b.conv(x, CHANNELS, CHANNELS, 1, 1), CHANNELS)
        skip = b.batch_norm(x, CHANNELS, gamma=sign * np.ones(CHANNELS))
        x = b("Relu", b("Add", b("Add", dense, pointwise), skip))
    onnx.save(b.proto(x), tmp_path / "source.onnx")
    return tmp_path / "source.onnx"


def operators(path: Path) -> list[str]:
    """Return the operators of a file."""
    return [node.op_type for node in onnx.load(path).graph.node]


def test_fold_merges_where_it_is_asked_to(bnfold: Run, source: Path) -> None:
    """Two Convs and two Relus are left, the account names what became what, and without --merge nothing merges."""
    target, plain = source.with_name("merged.onnx"), source.with_name("folded.onnx")
    document = json.loads(bnfold("fold", source, "-o", target, "--merge", "--json").out)
    assert operators(target) == ["Conv", "Relu"] * 2
    assert document["merge"]["schema"] == "bnfold.merge/1"
    assert {step["rule"] for step in document["merge"]["merges"]} == {"parallel"}
    assert document["merge"]["nodes_after"] == 4
    assert "merge" not in json.loads(bnfold("fold", source, "-o", plain, "--json").out)
    assert operators(plain).count("Conv") == 4
    assert bnfold("verify", source, target).code == 0


def test_fold_tells_what_it_merged(bnfold: Run, source: Path) -> None:
    """By rule, or with --explain node by node; a normalization that only merging takes up is mentioned."""
    target = source.with_name("merged.onnx")
    brief = bnfold("fold", source, "-o", target, "--merge").out
    assert "1 that folding kept is merged into convolutions" in brief
    explained = bnfold("fold", source, "-o", target, "--merge", "--explain", "--force").out
    assert "conv_3" in explained
    assert len(explained) > len(brief)


def test_export_merges(bnfold: Run, source: Path) -> None:
    """The bundle's model is merged, its report says so, and it is equivalent."""
    bundle = source.with_name("bundle")
    document = json.loads(bnfold("export", source, "-o", bundle, "--json").out)
    assert operators(bundle / "model.onnx") == ["Conv", "Relu"] * 2
    assert document["merge"] == json.loads((bundle / "fold.json").read_text())["merge"]
    assert bnfold("verify", bundle).code == 0
