"""``export --target``: a bundle for ONNX Runtime alone, and what other commands make of its model."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.cli.models import write_model
from tests.cli.running import Run, snapshot


@pytest.fixture
def source() -> Path:
    """A file with Conv, BatchNormalization and Relu."""
    return write_model(Path("source.onnx"))


def test_the_runtimes_operators_only_when_asked_for(bnfold: Run, source: Path) -> None:
    """By default there are none, and nobody speaks of any; with the option there are, and the output says so."""
    assert "has fused" not in bnfold("export", source, "-o", "plain").out
    told = bnfold("export", source, "-o", "own", "--target", "ort")
    assert "has fused 2 nodes to 1, with 1 FusedConv, which only ONNX Runtime knows." in told.out
    domains = {name: {node.domain for node in onnx.load(f"{name}/model.onnx").graph.node} for name in ("plain", "own")}
    assert domains == {"plain": {""}, "own": {"com.microsoft"}}
    manifest: Any = json.loads(Path("own/manifest.json").read_text())
    assert manifest["fold"]["target"]["operators"] == {"FusedConv": 1}
    document = json.loads(bnfold("export", source, "-o", "own", "--target", "ort", "--force", "--json").out)
    assert document["target"] == json.loads(Path("own/fold.json").read_text())["target"]
    assert "target" not in json.loads(bnfold("export", source, "-o", "plain", "--force", "--json").out)


def test_with_preprocessing_and_another_precision(bnfold: Run, source: Path) -> None:
    """Both come before the fusion, and the padding keeps a mean from folding; the bundle verifies."""
    options = ["--preprocess", "mean=0.5;std=0.25;uint8", "--precision", "float32", "--max-shard-size", "300"]
    assert bnfold("export", source, "-o", "bundle", "--target", "ort", *options).code == 0
    assert [node.op_type for node in onnx.load("bundle/model.onnx").graph.node] == ["Cast", "Sub", "FusedConv"]
    assert list(Path("bundle").glob("*.data"))
    done = bnfold("verify", "bundle")
    assert done.code == 0, done.out
    assert "wrong candidates were caught" in done.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "float16"], "computes float16 in float32"),
        (["--precision", "mixed"], "computes float16 in float32"),
        (["--provider", "cuda"], "--provider cuda has other fusions"),
    ],
)
def test_what_does_not_go_together_is_one_line(bnfold: Run, source: Path, options: list[str], words: str) -> None:
    """It names the option, and nothing is written."""
    before = snapshot()
    done = bnfold("export", source, "-o", "bundle", "--target", "ort", *options)
    assert done.code == 2
    assert done.err.startswith("error: --target ort: ")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert snapshot() == before


def test_other_commands_take_such_a_model(bnfold: Run, source: Path) -> None:
    """Folding finds nothing to fold, a second export nothing to fuse; no internal error (exit code 5) anywhere."""
    assert bnfold("export", source, "-o", "bundle", "--target", "ort").code == 0
    model = Path("bundle/model.onnx")
    assert bnfold("inspect", model).code == 0
    assert bnfold("fold", model, "-o", "folded.onnx").code == 0
    assert bnfold("verify", source, model).code == 0
    assert bnfold("verify", "bundle", "--report", "a.json").code == 0
    assert bnfold("diff", "a.json", "a.json").code == 0
    assert bnfold("bench", model, "--rounds", 2, "--starts", 0).code == 0
    assert bnfold("export", model, "-o", "again", "--opset", 21).code == 0
    done = bnfold("export", model, "-o", "half", "--precision", "float16")
    assert done.code == 2
    assert "(FusedConv of com.microsoft) is none of the standard's" in done.err
