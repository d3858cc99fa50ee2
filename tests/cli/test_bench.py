import json
from pathlib import Path

import onnx
import pytest

from tests.cli.models import conv_bn_relu, write_inputs, write_model
from tests.cli.running import Run

QUICK = ("--rounds", 3, "--warmup", 1, "--starts", 0)


@pytest.fixture(autouse=True)
def place() -> None:
    """Two models and one with a fixed batch."""
    write_model(Path("a.onnx"))
    write_model(Path("b.onnx"), eps=0.4)
    fixed = conv_bn_relu()
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(fixed, "fixed.onnx")


def test_models_are_measured_side_by_side(bnfold: Run) -> None:
    """A table a setting, a sentence a pair, a table of starts and one of operators; report and picture are written."""
    options = ("--batch", "1,2", "--threads", 1, "--report", "r.json", "--plot", "p.png")
    outcome = bnfold("bench", "a.onnx", "b.onnx", *options, *QUICK, "--starts", 1)
    assert (outcome.code, outcome.err) == (0, "")
    for text in ("cpu, 1 thread, batch of 1", "cpu, 1 thread, batch of 2", "peak memory", "Conv", "b.onnx "):
        assert text in outcome.out
    report = json.loads(Path("r.json").read_text())
    assert [(m["threads"], m["batch"]) for m in report["measurements"]] == [(1, 1), (1, 2)]
    assert report["startups"][0]["load"]["median"] > 0
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_the_report(bnfold: Run) -> None:
    """The object on stdout has the figures that the tables show; a graph that fixes its batch gets that batch."""
    outcome = bnfold("bench", "fixed.onnx", "a.onnx", *QUICK, "--io-binding", "--json")
    document = json.loads(outcome.out)
    assert document["schema"] == "bnfold.bench/1"
    assert document["io_binding"] is True
    (measurement,) = document["measurements"]
    assert measurement["batch"] == 2
    assert list(measurement["models"]) == ["fixed.onnx", "a.onnx"]


def test_data_are_what_the_models_are_fed(bnfold: Run) -> None:
    """As many samples as the batch; more than there are is an error that says so."""
    write_inputs(Path("x.npz"), samples=4)
    assert bnfold("bench", "a.onnx", *QUICK, "--data", "npz:x.npz", "--batch", 4).code == 0
    outcome = bnfold("bench", "a.onnx", *QUICK, "--data", "npz:x.npz", "--batch", 9)
    assert outcome.code == 2
    assert "9" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("missing.onnx", r"missing.onnx: no such file"),
        ("a.onnx a.onnx", "a.onnx: is named twice"),
        ("a.onnx fixed.onnx --batch 1,2", "fixed.onnx: its graph takes batches of 2 only"),
        ("a.onnx --batch 1,x", "--batch 1,x: expected positive numbers"),
        ("a.onnx --threads 0", "--threads 0: expected positive numbers"),
        ("a.onnx --provider cpu,npu", "--provider cpu,npu: 'npu' is none of cpu, cuda, tensorrt"),
        ("a.onnx --plot p.txt", "p.txt: expected a picture"),
        ("a.onnx --plot a.onnx", "a.onnx: is named twice"),
        ("a.onnx --report b.onnx", "b.onnx: already exists"),
        ("a.onnx --range z=0:1", "a.onnx: range for z"),
        ("a.onnx --cuda-graph", "CUDA graphs: need bound inputs"),
    ],
)
def test_bad_input_is_one_line(bnfold: Run, words: str, message: str) -> None:
    """It names the file or the option; nothing is measured or written."""
    before = sorted(Path().iterdir())
    outcome = bnfold("bench", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_an_absent_device_is_not_attested(bnfold: Run) -> None:
    """Nothing is measured elsewhere in its place."""
    outcome = bnfold("bench", "a.onnx", *QUICK, "--provider", "tensorrt")
    assert outcome.code == 3
    assert "--provider tensorrt" in outcome.err


def test_a_broken_weight_is_refused(bnfold: Run) -> None:
    """Arithmetic on NaN has a speed of its own."""
    write_model(Path("nan.onnx"), nan=True)
    outcome = bnfold("bench", "a.onnx", "nan.onnx")
    assert outcome.code == 2
    assert "holds NaN" in outcome.err
