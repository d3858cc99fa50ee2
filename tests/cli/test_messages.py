"""Messages that name what the user gave, and options that contradict the source or each other."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.models import sigmoid_bn_sigmoid, write_inputs, write_model
from tests.cli.running import Run
from tests.folding.builder import Builder


@pytest.fixture(autouse=True)
def place() -> None:
    """A model, data for it, and a model in float64, which ONNX Runtime cannot convolve on the CPU."""
    write_model(Path("m.onnx"))
    write_inputs(Path("x.npz"), samples=20)
    b = Builder(dtype=np.float64)
    x = b.input("N", 3, 6, 5)
    for _ in range(2):
        x = b("Relu", b.batch_norm(b.conv(x, 3, 3, 3, 3), 3))
    onnx.save(b.proto(x), "double.onnx")


def test_a_model_in_double_is_named_with_what_to_do(bnfold: Run) -> None:
    """The user's file, never a temporary one."""
    outcome = bnfold("calibrate", "double.onnx", "--data", "npz:x.npz", "-o", "out")
    assert outcome.code == 2
    assert outcome.err.startswith("error: double.onnx: ONNX Runtime on cpu has no Conv in the type")
    assert "store it in float32 (bnfold export --precision float32)" in outcome.err
    assert not Path("out").exists()


def test_a_model_in_double_is_exported_and_verified_where_it_can_run(bnfold: Run) -> None:
    """As it is no CPU runs it, which is said and is no verdict; in float32 it is judged as any other."""
    outcome = bnfold("export", "double.onnx", "-o", "wide")
    assert outcome.code == 0, outcome.err
    assert "CPU provider cannot load this bundle: it has no Conv in this type" in outcome.out
    outcome = bnfold("verify", "wide")
    assert outcome.code == 3
    assert "--provider cpu: nothing ran there: wide/model.onnx: ONNX Runtime on cpu has no Conv" in outcome.err
    assert bnfold("export", "double.onnx", "-o", "single", "--precision", "float32").code == 0
    outcome = bnfold("verify", "single")
    assert outcome.code == 0, outcome.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["export", "m.onnx", "-o", "out", "--shape", "x=2,3,6,5", "--dynamic", "x=b,3,6,5"], "given extents already"),
        (["export", "m.onnx", "-o", "out", "--rename", "x=a", "--rename", "x=b"], "renamed already"),
        (["export", "m.onnx", "-o", "out", "--model", "net.py:build"], "m.onnx: --model is for runs"),
        (["fold", "m.onnx", "-o", "out.onnx", "--model", "net.py:build"], "m.onnx: --model is for runs"),
        (["inspect", "m.onnx", "--model", "net.py:build"], "m.onnx: --model is for runs"),
        (["fold", "m.onnx", "-o", "out.txt"], "out.txt: expected a name that ends in .onnx"),
        (["fold", "", "-o", "out.onnx"], "argument 1 of the command: is empty"),
        (["fold", "m.onnx", "-o", ""], "-o: is empty"),
        (["export", "m.onnx", "--output="], "--output: is empty"),
    ],
)
def test_contradictions_and_empty_words(bnfold: Run, line: list[str], words: str) -> None:
    """One line, exit code 2, nothing written."""
    before = {path.name for path in Path().iterdir()}
    outcome = bnfold(*line)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome
    assert words in outcome.err
    assert {path.name for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("img", np.zeros((5, 3, 6, 5), np.float32), "found img"),
        ("x", np.zeros((5, 4, 6, 5), np.float32), "found float32[5, 4, 6, 5]"),
        ("x", np.zeros((5, 3, 6, 5), np.int64), "x.astype('float32')"),
        ("x", np.full((5, 3, 6, 5), 1e300), "1e+300 does not fit float32"),
    ],
)
def test_data_that_do_not_fit(bnfold: Run, name: str, array: np.ndarray, words: str) -> None:
    """The message names the model and the data."""
    np.savez("wrong.npz", **{name: array})  # pyright: ignore[reportArgumentType]  (the stub fears for its option)
    outcome = bnfold("calibrate", "m.onnx", "--data", "npz:wrong.npz", "-o", "new.onnx")
    assert outcome.code == 2
    assert outcome.err.startswith("error: m.onnx: --data npz:wrong.npz: input")
    assert words in outcome.err


def test_double_data_are_cast(bnfold: Run) -> None:
    """To the bytes that float32 data give, and a note says so."""
    x = np.load("x.npz")["x"]
    np.savez("double.npz", x=x.astype(np.float64))
    assert bnfold("calibrate", "m.onnx", "--data", "npz:x.npz", "-o", "one.onnx").code == 0
    outcome = bnfold("calibrate", "m.onnx", "--data", "npz:double.npz", "-o", "two.onnx")
    assert outcome.code == 0, outcome.err
    assert "x was converted from float64 to float32" in outcome.out
    assert Path("one.onnx").read_bytes() == Path("two.onnx").read_bytes()


def test_nothing_recalibrated_is_said(bnfold: Run) -> None:
    """Without a table, and without a word of a calibrated model."""
    model = sigmoid_bn_sigmoid()
    (node,) = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    node.attribute.append(onnx.helper.make_attribute("training_mode", 1))
    node.output.extend(["mean_out", "var_out"])
    onnx.save(model, "training.onnx")
    np.savez("three.npz", x=np.zeros((4, 3), np.float32))
    outcome = bnfold("calibrate", "training.onnx", "--data", "npz:three.npz", "-o", "new.onnx")
    assert outcome.code == 0, outcome.err
    assert "is in training mode" in outcome.out
    assert outcome.out.endswith("Nothing was recalibrated: new.onnx holds the model with the statistics that it had.\n")
    assert "calibrated model is in" not in outcome.out
    assert "values a" not in outcome.out


def test_names_stay_whole_at_80_columns(bnfold: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch names them; figures take the room that they need and no more."""
    name = "/1/f/f.0/f.0.1/BatchNormalization"
    model = onnx.load("m.onnx")
    (node,) = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    node.name = name
    onnx.save(model, "named.onnx")
    monkeypatch.setenv("COLUMNS", "80")
    outcome = bnfold("calibrate", "named.onnx", "--data", "npz:x.npz", "-o", "new.onnx")
    assert name in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize(("options", "newer"), [([], True), (["--opset", "22"], False)])
def test_limits_of_bfloat16_are_told(bnfold: Run, options: list[str], newer: bool) -> None:
    """What the operator set lacks, with the one that has it; and that the CPU cannot load the bundle."""
    told = bnfold("export", "m.onnx", "-o", "bundle", "--precision", "bfloat16", *options).out
    assert ("opset 17 has no Conv in bfloat16; with --opset 22" in told) == newer
    assert ("CPU provider cannot load this bundle: it has no Conv in this type" in told) != newer


def test_a_provider_whose_costs_nobody_measured(bnfold: Run) -> None:
    """What is free is folded all the same, and the command says that this was all, where costs have a say."""
    for command in (("fold", "m.onnx", "-o", "f.onnx"), ("inspect", "m.onnx")):
        outcome = bnfold(*command, "--provider", "cuda")
        assert (outcome.code, outcome.err.startswith("what a pass costs on cuda has not been measured")) == (0, True)
    assert not bnfold("inspect", "m.onnx", "--provider", "cuda", "--objective", "no-bn").err


def test_a_graph_at_fault_is_named_with_its_file(bnfold: Run) -> None:
    """The node and the parameter alone would not tell in which of many files to look."""
    b = Builder(dtype=np.float32)
    weight = b.stored(np.full((4, 3, 2, 2), np.inf))
    onnx.save(b.proto(b.batch_norm(b("Conv", b.input("N", 3, 6, 5), weight, name="conv"), 4)), "inf.onnx")
    for command in (("inspect", "inf.onnx"), ("fold", "inf.onnx", "-o", "f.onnx")):
        outcome = bnfold(*command)
        assert outcome.code == 2
        assert outcome.err.startswith("error: inf.onnx: Conv conv: its parameter weight_1 holds NaN or infinity")
