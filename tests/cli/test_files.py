import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from bnfold_cli.work.doctor import attempt
from tests.cli.models import sigmoid_bn_sigmoid, write_inputs, write_model
from tests.cli.running import Run


def _operators(path: str) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.fixture(autouse=True)
def place() -> None:
    """A model, another one that differs in ε only, and inputs."""
    write_model(Path("a.onnx"))
    write_model(Path("other.onnx"), eps=0.2)
    write_inputs(Path("x.npz"))


def test_fold_writes_the_model_and_its_report(bnfold: Run) -> None:
    """The same document goes to stdout and to the file; the normalization is gone from the graph."""
    outcome = bnfold("fold", "a.onnx", "-o", "f.onnx", "--report", "r.json", "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document == json.loads(Path("r.json").read_text())
    assert document["batch_norm_count"] == {"before": 1, "after": 0}
    assert document["source"]["kind"] == "onnx"
    assert _operators("f.onnx") == ["Conv", "Relu"]


def test_force_replaces_a_file(bnfold: Run) -> None:
    """With ``--force`` an output that is there gives way, and only then."""
    Path("f.onnx").write_text("old\n")
    assert bnfold("fold", "a.onnx", "-o", "f.onnx").code == 2
    assert bnfold("fold", "a.onnx", "-o", "f.onnx", "--force").code == 0
    assert _operators("f.onnx") == ["Conv", "Relu"]


def test_inspect_writes_nothing(bnfold: Run) -> None:
    """``inspect`` tells what would become of each normalization and leaves the folder as it was."""
    before = sorted(Path().iterdir())
    (outcome,) = json.loads(bnfold("inspect", "a.onnx", "--json").out)["batch_norms"]
    assert (outcome["name"], outcome["removed"], outcome["into"]) == ("bn", True, ["conv.weight"])
    assert "would be folded" in bnfold("inspect", "a.onnx").out
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("data", [[], ["--data", "npz:x.npz"]])
def test_verify_tells_apart_what_is_equal_and_what_is_not(bnfold: Run, data: list[str]) -> None:
    """A fold is equivalent (0); the same network with another ε is not (1), on random values and on data."""
    bnfold("fold", "a.onnx", "-o", "f.onnx")
    same = bnfold("verify", "a.onnx", "f.onnx", *data, "--report", "v.json")
    assert same.code == 0, same
    assert "equivalent" in same.out
    assert json.loads(Path("v.json").read_text())["verdict"] == "equivalent"
    different = bnfold("verify", "a.onnx", "other.onnx", *data)
    assert different.code == 1
    assert "not equivalent" in different.out


def test_what_is_kept_comes_with_its_reason(bnfold: Run) -> None:
    """A normalization that stays is named with the operator in its way, with and without ``--explain``."""
    onnx.save(sigmoid_bn_sigmoid(), "k.onnx")
    for explain in ([], ["--explain"]):
        outcome = bnfold("fold", "k.onnx", "-o", "f.onnx", "--force", *explain)
        assert outcome.code == 0
        assert any("stays" in line and "Sigmoid" in line for line in outcome.out.splitlines())
        assert "0 of 1 BatchNormalization nodes are folded" in outcome.out


def test_verify_concludes_nothing_from_nothing(bnfold: Run) -> None:
    """Inputs that are all alike cannot tell two networks apart: exit code 4, never a pass."""
    np.savez("zeros.npz", x=np.zeros((5, 3, 6, 5), np.float32))
    outcome = bnfold("verify", "a.onnx", "a.onnx", "--data", "npz:zeros.npz")
    assert outcome.code == 4, outcome
    assert "inconclusive" in outcome.out


def test_a_bundle_is_verified_by_its_golden_data(bnfold: Run) -> None:
    """Export and verify meet in the bundle: equivalent as written, refused once a byte of the model has changed."""
    outcome = bnfold("export", "a.onnx", "-o", "bundle", "--opset", "18", "--samples", "6", "--json")
    assert outcome.code == 0, outcome
    document = json.loads(outcome.out)
    assert (document["opset"], document["golden"]["samples"]) == (18, 6)
    assert _operators("bundle/model.onnx") == ["Conv", "Relu"]
    assert bnfold("verify", "bundle").code == 0
    needless = bnfold("verify", "bundle", "--samples", "3")
    assert (needless.code, "--samples" in needless.err) == (2, True)
    model = Path("bundle/model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    tampered = bnfold("verify", "bundle")
    assert tampered.code == 2
    assert "model.onnx" in tampered.err


def test_export_replaces_a_bundle_with_force(bnfold: Run) -> None:
    """A bundle gives way to a new one with ``--force``."""
    assert bnfold("export", "a.onnx", "-o", "bundle", "--data", "npz:x.npz").code == 0
    assert bnfold("export", "other.onnx", "-o", "bundle").code == 2
    assert bnfold("export", "other.onnx", "-o", "bundle", "--force").code == 0


def test_no_pass_without_the_provider(bnfold: Run) -> None:
    """Asked for TensorRT where it does not load, the command ends with 3 and says what is missing."""
    if attempt("tensorrt").works:
        pytest.skip("TensorRT works on this machine")
    outcome = bnfold("verify", "a.onnx", "a.onnx", "--provider", "tensorrt")
    assert (outcome.code, outcome.out) == (3, "")
    assert "tensorrt" in outcome.err
