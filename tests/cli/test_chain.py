import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.cli.running import Outcome, Run, bnfold_process


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the demo of this module is in."""
    return tmp_path_factory.mktemp("chain")


@pytest.fixture(scope="module")
def demo(place: Path) -> Outcome:
    """One demo with a single epoch, run as a program of its own."""
    return bnfold_process("demo", "-o", place / "demo", "--epochs", 1, "--seed", 3, COLUMNS="80")


@pytest.fixture
def summary(demo: Outcome, place: Path) -> dict[str, Any]:
    """The document of that demo."""
    assert demo.code == 0, demo.err
    return json.loads((place / "demo" / "demo.json").read_text())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_demo_shows_the_whole_story(demo: Outcome) -> None:
    """One table a person can read: both accuracies, both graphs, both errors, both latencies, verdict and files."""
    assert demo.code == 0, demo.err
    for words in (
        "test accuracy",
        "moving average",
        "recomputed",
        "BatchNormalization nodes",
        "element-wise passes",
        "error against float64",
        "latency",
        "Verdict on cpu: equivalent",
        "bundle",
    ):
        assert words in demo.out
    assert "…" not in demo.out
    assert max(len(line) for line in demo.out.splitlines()) <= 80


def test_the_demo_proves_what_it_shows(summary: dict[str, Any], place: Path) -> None:
    """The figures behind the table: normalizations gone, accuracy that of a network that learnt, errors of float32."""
    assert summary["finished"] is True
    assert summary["verdict"] == "equivalent"
    assert summary["export"]["batch_norms"] == {"before": 4, "after": 0}
    assert summary["export"]["nodes"]["after"] < summary["export"]["nodes"]["before"]
    # One class in ten by chance; one epoch on 1437 digits is well past a half.
    assert summary["calibrate"]["before"]["accuracy"] > 0.5
    assert summary["calibrate"]["after"]["accuracy"] > 0.5
    (output,) = summary["verify"]["outputs"]
    assert 0 < output["candidate"]["relative_rmse"] < 1e-5
    assert set(summary["latency"]["models"]) == {"unfolded", "folded"}
    assert all(Path(path).exists() for path in summary["files"].values())
    model = onnx.load(place / "demo" / "bundle" / "model.onnx")
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_the_demo_is_its_commands(bnfold: Run, demo: Outcome, place: Path, summary: dict[str, Any]) -> None:
    """The commands that the demo names, typed one after another, make the same files byte by byte."""
    assert summary["finished"]
    lines = [shlex.split(line.removeprefix("$ bnfold ")) for line in demo.err.splitlines() if line.startswith("$ ")]
    assert [words[0] for words in lines] == ["train", "calibrate", "fold", "export", "verify"]
    for words in lines:
        outcome = bnfold(*(word.replace(str(place / "demo"), "again") for word in words))
        assert outcome.code == 0, outcome
    for file in ("run/model.safetensors", "calibrated/model.safetensors", "folded.onnx", "bundle/model.onnx"):
        assert _sha256(Path("again") / file) == _sha256(place / "demo" / file), file


def test_a_finished_run_resumes_to_itself(bnfold: Run, demo: Outcome, place: Path) -> None:
    """``--resume`` on a finished run trains nothing and says where it stands."""
    assert demo.code == 0
    arguments = ("train", "digits-cnn", "-o", place / "demo/run", "--epochs", 1, "--seed", 3, "--resume", "--json")
    document = json.loads(bnfold(*arguments).out)
    assert document["resumed_from"] == document["steps"] == document["final"]["step"]
    assert document["settings"]["seed"] == 3


def test_calibrated_runs_record_how(bnfold: Run, demo: Outcome, place: Path) -> None:
    """A calibrated run tells the estimator, the samples and what moved, and is a run like any other."""
    assert demo.code == 0
    outcome = bnfold(
        "calibrate", place / "demo/run", "-o", "paper", "--estimator", "algorithm-2", "--samples", 200, "--json"
    )
    document = json.loads(outcome.out)
    assert (document["report"]["estimator"], document["report"]["samples"]) == ("algorithm-2", 192)
    assert len(document["report"]["layers"]) == 4
    assert json.loads(Path("paper/run.json").read_text())["calibration"]["estimator"] == "algorithm-2"
    assert bnfold("inspect", "paper").code == 0


def test_a_run_folds_and_explains(bnfold: Run, demo: Outcome, place: Path) -> None:
    """``--explain`` names every normalization of a run with the weights that took it up."""
    assert demo.code == 0
    outcome = bnfold("fold", place / "demo/run", "-o", "f.onnx", "--explain")
    assert outcome.code == 0
    for name, weight in (("features.1", "features.0.weight"), ("head.1", "head.0.weight")):
        assert any(name in line and "removed" in line and weight in line for line in outcome.out.splitlines())


def test_an_unfinished_run_is_refused(bnfold: Run, demo: Outcome, place: Path) -> None:
    """A run that was interrupted has no final weights to fold, and says how to get them."""
    assert demo.code == 0
    Path("half").mkdir()
    record = json.loads((place / "demo/run/run.json").read_text())
    Path("half/run.json").write_text(json.dumps({**record, "finished": False}))
    outcome = bnfold("fold", "half", "-o", "f.onnx")
    assert outcome.code == 2
    assert "--resume" in outcome.err


def test_changed_code_runs_only_when_it_is_named_again(bnfold: Run) -> None:
    """A run whose model file has changed is refused; calibrated with ``--model``, the new run goes by the new file."""
    body = "nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False), nn.BatchNorm1d(10))"
    source = f"from torch import nn\n\n\ndef build():\n    return {body}\n"
    Path("net.py").write_text(source)
    assert bnfold("train", "net.py:build", "--data", "digits", "-o", "run", "--steps", 5).code == 0
    assert bnfold("fold", "run", "-o", "f.onnx").code == 0
    Path("net.py").write_text(f"{source}# changed\n")
    refused = bnfold("fold", "run", "-o", "f.onnx", "--force")
    assert refused.code == 2
    assert "--model" in refused.err
    assert bnfold("calibrate", "run", "-o", "calibrated", "--model", "net.py:build").code == 0
    assert bnfold("fold", "calibrated", "-o", "f.onnx", "--force").code == 0
