"""``export``: precision, preprocessing, extents and names, each in a bundle that verifies."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.cli.running import Run
from tests.folding.builder import Builder

CHANNELS = 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with Conv, BatchNormalization, Relu and pooling, for one image of fixed extents."""
    b = Builder(dtype=np.float32)
    x = b.batch_norm(b.conv(b.input(1, CHANNELS, 6, 5), CHANNELS, 32, 3, 3), 32)
    x = b("Flatten", b("GlobalAveragePool", b("Relu", x)))
    onnx.save(b.proto(b("Gemm", x, b.normal(32, 4), name="fc")), tmp_path / "source.onnx")
    return tmp_path / "source.onnx"


def session(bundle: Path) -> Any:
    """Return the runtime's view of a bundle's model."""
    return onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("precision", "narrow"), [("float16", 10), ("mixed", 10), ("float32", 1)])
def test_precisions(bnfold: Run, source: Path, precision: str, narrow: int) -> None:
    """Weights are narrow, callers see float32, the account is in the bundle, and verification passes."""
    bundle = source.with_name("bundle")
    document = json.loads(bnfold("export", source, "-o", bundle, "--precision", precision, "--json").out)
    assert document["precision"] == json.loads((bundle / "fold.json").read_text())["precision"]
    weights = {tensor.data_type for tensor in onnx.load(bundle / "model.onnx").graph.initializer}
    assert weights == {narrow}
    assert session(bundle).get_inputs()[0].type == "tensor(float)"
    assert bnfold("verify", bundle).code == 0
    told = bnfold("export", source, "-o", bundle, "--precision", precision, "--force").out
    assert f"5 in {'float32' if narrow == 1 else 'float16'}; {document['precision']['casts']} Casts" in told or (
        "stays in float32" in told
    )


def test_preprocessing_extents_and_names(bnfold: Run, source: Path) -> None:
    """Bytes of any size in any number go in, by another name, and the manifest says what was asked for."""
    bundle = source.with_name("bundle")
    options = ["--preprocess", "mean=0.5,0.4,0.3;std=0.2;uint8", "--dynamic", "x=batch,3,h,w", "--rename", "x=images"]
    assert bnfold("export", source, "-o", bundle, *options).code == 0
    (port,) = session(bundle).get_inputs()
    assert (port.name, port.type, port.shape) == ("images", "tensor(uint8)", ["batch", 3, "h", "w"])
    (scores,) = session(bundle).run(None, {"images": np.zeros((2, 3, 7, 9), np.uint8)})
    assert scores.shape == (2, 4)
    assert [node.op_type for node in onnx.load(bundle / "model.onnx").graph.node][:2] == ["Cast", "Conv"]
    provenance = json.loads((bundle / "manifest.json").read_text())["provenance"]
    assert provenance["preprocess"] == options[1]
    assert (provenance["shapes"], provenance["names"]) == ([options[3]], [options[5]])
    assert bnfold("verify", bundle).code == 0


def test_equalized_weights(bnfold: Run, source: Path) -> None:
    """The account says what changed, and the bundle verifies."""
    bundle = source.with_name("bundle")
    document = json.loads(bnfold("export", source, "-o", bundle, "--equalize", "--json").out)
    account = document["equalize"]
    assert account == json.loads((bundle / "fold.json").read_text())["equalize"]
    stored = onnx.load(bundle / "model.onnx").graph.initializer
    assert {weight["name"] for weight in account["weights"]} == {each.name for each in stored if len(each.dims) > 1}
    assert account["scaled"] > 0
    assert bnfold("verify", bundle).code == 0
    told = bnfold("export", source, "-o", bundle, "--equalize", "--force").out
    assert "channels of 2 weights are scaled by powers of two" in told


def test_decisions_by_measuring(bnfold: Run, source: Path) -> None:
    """The bundle says how it was decided, not how long anything took: another run gives the same bytes."""
    bundle = source.with_name("bundle")
    document = json.loads(bnfold("export", source, "-o", bundle, "--tune", "1", "--json").out)
    provenance = json.loads((bundle / "manifest.json").read_text())["provenance"]
    assert provenance["tune"] == {"provider": "cpu", "batch": 1, "chosen": document["tune"]["chosen"]}
    assert "tune" not in json.loads((bundle / "fold.json").read_text())
    assert bnfold("verify", bundle).code == 0
    told = bnfold("export", source, "-o", bundle, "--tune", "1", "--objective", "no-bn", "--force").out
    assert "all ways to decide give the same graph" in told or "rounds on cpu" in told


def test_a_provider_without_figures(bnfold: Run, source: Path) -> None:
    """What was not measured decides nothing, and the command says so; nothing is run there."""
    bundle = source.with_name("bundle")
    outcome = bnfold("export", source, "-o", bundle, "--provider", "cuda")
    assert (outcome.code, "cuda has not been measured" in outcome.err) == (0, True)


def test_shards(bnfold: Run, source: Path) -> None:
    """Weights lie in several files, each listed with its hash; the bundle verifies, and notices a change in one."""
    bundle = source.with_name("bundle")
    assert bnfold("export", source, "-o", bundle, "--max-shard-size", "1kB").code == 0
    shards = sorted(path.name for path in bundle.glob("*.data"))
    assert len(shards) == 2
    assert set(shards) <= json.loads((bundle / "manifest.json").read_text())["files"].keys()
    assert bnfold("verify", bundle).code == 0
    (bundle / shards[0]).write_bytes(b"\0" + (bundle / shards[0]).read_bytes()[1:])
    outcome = bnfold("verify", bundle)
    assert (outcome.code, "changed since the bundle was written" in outcome.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rename", "x"], "expected OLD=NEW"),
        (["--rename", "z=y"], "no such input or output"),
        (["--shape", "x=1,3,6"], "expected 4 extents"),
        (["--preprocess", "mean=a"], "expected numbers"),
        (["--preprocess", "mean=1,2"], "has 3 channels"),
        (["--tune", "8"], "takes batches of 1 only; use --tune 1"),
        (["--max-shard-size", "big"], "expected a size such as"),
        (["--max-shard-size", "0"], "expected a size such as"),
    ],
)
def test_bad_requests(bnfold: Run, source: Path, options: list[str], words: str) -> None:
    """One line, exit code 2, and no bundle."""
    outcome = bnfold("export", source, "-o", source.with_name("bundle"), *options)
    assert outcome.code == 2
    assert words in outcome.err
    assert not source.with_name("bundle").exists()
