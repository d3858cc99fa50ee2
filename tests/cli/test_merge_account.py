"""What ``fold --merge`` says is true of the file that it writes."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.running import Run
from tests.folding.builder import Builder

CHANNELS = 4


@pytest.fixture
def repvgg(tmp_path: Path) -> Path:
    """Two RepVGG blocks; γ < 0 in the second identity, behind a Relu, is more than a fold takes up."""
    b = Builder(dtype=np.float32)
    x = b.input("N", CHANNELS, 6, 5)
    for sign in (1.0, -1.0):
        dense = b.batch_norm(b.conv(x, CHANNELS, CHANNELS, 3, 3, pads=[1] * 4), CHANNELS)
        x = b("Relu", b("Add", dense, b.batch_norm(x, CHANNELS, gamma=sign * np.ones(CHANNELS))))
    onnx.save(b.proto(x), tmp_path / "source.onnx")
    return tmp_path / "source.onnx"


def test_the_account_is_of_the_written_file(bnfold: Run, repvgg: Path) -> None:
    """Nodes, weights and kept normalizations are counted in the file; one that merging took up names its weight."""
    target = repvgg.with_name("merged.onnx")
    document = json.loads(bnfold("fold", repvgg, "-o", target, "--merge", "--json").out)
    graph = onnx.load(target).graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert document["nodes"]["after"] == len(graph.node)
    assert document["batch_norm_count"]["after"] == document["kept"] == 0
    assert document["bytes"]["after"] == sum(array.nbytes for array in weights.values())
    (merged,) = [each for each in document["batch_norms"] if each["detail"].startswith("merged into Conv")]
    assert set(merged["into"]) <= weights.keys()
    assert merged["into"]


def test_a_merged_normalization_is_told_as_such(bnfold: Run, repvgg: Path) -> None:
    """In the table and in the sentence; the export says the same."""
    told = bnfold("fold", repvgg, "-o", repvgg.with_name("merged.onnx"), "--merge", "--explain").out
    sentence = (
        "3 of 4 BatchNormalization nodes are folded into weights, 1 that folding kept is merged into convolutions"
    )
    assert sentence in told
    assert sum(line.split()[1:2] == ["merged"] for line in told.splitlines()) == 1
    assert "kept as told above" not in told
    bundle = repvgg.with_name("bundle")
    assert sentence in bnfold("export", repvgg, "-o", bundle).out
    assert json.loads((bundle / "fold.json").read_text())["kept"] == 0


def test_moves_that_remove_no_node(bnfold: Run, tmp_path: Path) -> None:
    """A maximum that goes behind a MaxPool: as many nodes as before, and words to that effect."""
    b = Builder(dtype=np.float32)
    x = b("Max", b.conv(b.input("N", CHANNELS, 8, 8), CHANNELS, CHANNELS, 3, 3), b.normal(1, CHANNELS, 1, 1))
    y = b("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    onnx.save(b.proto(y), tmp_path / "source.onnx")
    told = bnfold("fold", tmp_path / "source.onnx", "-o", tmp_path / "merged.onnx", "--merge").out
    assert "threshold-behind-pool" in told
    assert "the number of nodes stays 3" in told
