"""Tests of ``bnfold calibrate``: runs, ONNX files, reports, undo, and several processes."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from bnfold.population.ledger import Ledger, Observed
from tests.cli.models import write_inputs, write_model
from tests.cli.running import Outcome, Run, child_environment

NET = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 7), nn.BatchNorm1d(7), nn.Sigmoid(), nn.Linear(7, 10), nn.BatchNorm1d(10)
    )
"""


@pytest.fixture
def trained(bnfold: Run) -> Path:
    """A run of a small network, trained for a moment."""
    Path("net.py").write_text(NET)
    outcome = bnfold("train", "net.py:build", "--data", "digits", "-o", "run", "--steps", 8)
    assert outcome.code == 0, outcome.err
    return Path("run")


def document(text: str) -> dict[str, Any]:
    """Return the JSON document of a command."""
    return json.loads(text)


def statistics(run: Path | str) -> dict[str, np.ndarray]:
    """Return the running statistics in a run folder."""
    tensors = load_file(Path(run) / "model.safetensors")
    return {name: array for name, array in tensors.items() if "running" in name}


def test_the_report_has_every_channel_and_a_picture(bnfold: Run, trained: Path) -> None:
    """Figures of each channel, old and new, with histograms that count every channel once, and a PNG beside."""
    outcome = bnfold("calibrate", trained, "-o", "new", "--report", "s.json", "--json")
    assert outcome.code == 0, outcome.err
    shown, written = document(outcome.out), document(Path("s.json").read_text())
    assert shown["report"]["estimator"] == written["report"]["estimator"] == "self-consistent"
    assert shown["picture"] == "s.png"
    assert Path("s.png").read_bytes().startswith(b"\x89PNG")
    old, new = statistics(trained), statistics("new")
    for layer in written["report"]["layers"]:
        np.testing.assert_array_equal(np.float32(layer["old_mean"]), old[f"{layer['name']}.running_mean"])
        np.testing.assert_array_equal(np.float32(layer["new_variance"]), new[f"{layer['name']}.running_var"])
        for histogram in layer["histograms"].values():
            assert len(histogram["edges"]) == len(histogram["population"]) + 1
            assert sum(histogram["moving_average"]) == sum(histogram["population"]) == layer["channels"]
        assert max(layer["variance_standard_error"]) > 0


def test_undo_puts_back_what_was_there(bnfold: Run, trained: Path) -> None:
    """Twice calibrated, twice undone: each time the statistics before, to the bit, and their record."""
    assert bnfold("calibrate", trained, "-o", "one", "--estimator", "pooled").code == 0
    assert bnfold("calibrate", "one", "-o", "two").code == 0
    assert any((statistics("one")[name] != array).any() for name, array in statistics("two").items())
    assert bnfold("calibrate", "two", "--undo", "-o", "back").code == 0
    outcome = bnfold("calibrate", "one", "--undo", "--json")
    assert len(document(outcome.out)["restored"]) == 4
    again = bnfold("calibrate", "one", "--undo")
    assert again.code == 2
    assert "undone already" in again.err
    assert document(Path("back/run.json").read_text())["calibration"]["estimator"] == "pooled"
    assert "calibration" not in document(Path("one/run.json").read_text())
    expected = load_file(trained / "model.safetensors")
    for name, array in load_file("one/model.safetensors").items():
        np.testing.assert_array_equal(array, expected[name])


def test_a_goal_and_a_budget_reach_the_library(bnfold: Run, trained: Path) -> None:
    """Fewer samples for a modest goal; no memory for batches, and the note that tells of the disk."""
    outcome = bnfold(
        "calibrate", trained, "-o", "new", "--until-relative-error", 0.3, "--memory-budget", 0, "--batch-size", 16,
        "--json",
    )  # fmt: skip
    report = document(outcome.out)["report"]
    assert 32 <= report["samples"] < 1437
    assert max(layer["relative_error"] for layer in report["layers"]) <= 0.3
    assert any("through the disk" in note for note in report["notes"])


def test_an_onnx_file_is_calibrated(bnfold: Run) -> None:
    """Mean and variance of the convolution's output, in a file that differs in nothing else; the source stays."""
    model, data = write_model(Path("m.onnx")), write_inputs(Path("x.npz"), samples=50)
    before = model.read_bytes()
    outcome = bnfold("calibrate", model, "--data", f"npz:{data}", "-o", "new.onnx", "--report", "s.json", "--json")
    assert outcome.code == 0, outcome.err
    assert model.read_bytes() == before
    assert document(outcome.out)["output"] == "new.onnx"
    (layer,) = document(Path("s.json").read_text())["report"]["layers"]
    old, new = (_initializers(Path(name)) for name in ("m.onnx", "new.onnx"))
    assert {name for name in old if (old[name] != new[name]).any()} == {"bn.mean", "bn.var"}
    np.testing.assert_array_equal(np.float32(layer["old_mean"]), old["bn.mean"])
    np.testing.assert_array_equal(np.float32(layer["new_variance"]), new["bn.var"])
    x = np.pad(np.load(data)["x"], ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    values = np.einsum("nchwij,ocij->onhw", windows, old["conv.weight"].astype(np.float64)).reshape(4, -1)
    # Sums of 27 products in float32.
    np.testing.assert_allclose(new["bn.mean"], values.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(new["bn.var"], values.var(axis=1, ddof=1), rtol=1e-5)


def _initializers(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m.onnx", "-o", "new.onnx"), "brings no data"),
        (("m.onnx", "-o", "m.onnx", "--data", "npz:x.npz", "--force"), "named twice"),
        (("m.onnx", "-o", "new.onnx", "--data", "npz:x.npz", "--include-frozen"), "are for runs"),
        (("m.onnx", "-o", "new.onnx", "--data", "npz:wrong.npz"), "the graph expects x float"),
        (("m.onnx", "--data", "npz:x.npz"), "say what to write"),
        (("m.onnx", "--undo"), "keeps no older statistics"),
        (("m.onnx", "-o", "new.onnx", "--data", "npz:x.npz", "--report", "s.png"), "choose a name without .png"),
        (("nothing.onnx", "-o", "new.onnx", "--data", "npz:x.npz"), "no such file"),
        (("nothing", "-o", "new"), "no such directory"),
        (("nothing", "-o", "new", "--device", "tpu"), "--device"),
        (("m.onnx", "-o", "new.onnx", "--data", "npz:x.npz", "--until-relative-error", "0"), "above 0"),
    ],
)
def test_bad_input_is_one_line(bnfold: Run, arguments: tuple[str, ...], message: str) -> None:
    """The file or option that is wrong, exit code 2, and nothing written."""
    write_model(Path("m.onnx"))
    write_inputs(Path("x.npz"))
    np.savez("wrong.npz", y=np.zeros(3), z=np.zeros((3, 2)))
    outcome = bnfold("calibrate", *arguments)
    assert outcome.code == 2, outcome
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert {path.name for path in Path().iterdir()} == {"m.onnx", "x.npz", "wrong.npz"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("estimator", ["self-consistent", "pooled"])
@pytest.mark.parametrize("what", ["run", "onnx"])
def test_an_interruption_leaves_nothing(
    bnfold: Run, trained: Path, monkeypatch: pytest.MonkeyPatch, what: str, estimator: str, number: signal.Signals
) -> None:
    """In the middle of a pass, with batches that wait on disk: one line, nothing written, and the disk is empty."""
    write_model(Path("m.onnx"))
    data = write_inputs(Path("x.npz"), samples=50)
    Path("temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", "temporary")
    before = _contents()
    counted: list[object] = []
    add = Ledger.add

    def interrupted(ledger: Ledger, call: Observed) -> None:
        add(ledger, call)
        counted.append(call)
        if len(counted) == 2:
            signal.raise_signal(number)

    monkeypatch.setattr(Ledger, "add", interrupted)
    arguments = (trained, "-o", "new") if what == "run" else ("m.onnx", "--data", f"npz:{data}", "-o", "new.onnx")
    settings = ("--estimator", estimator, "--batch-size", 10, "--memory-budget", 0, "--report", "s.json")
    outcome = bnfold("calibrate", *arguments, *settings)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (130, "", 1), outcome
    assert outcome.err.startswith("interrupted: ")
    assert _contents() == before


def _contents() -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def torchrun(*arguments: object, processes: int = 2) -> Outcome:
    """Run the command in several processes, as a user would start them."""
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone", "-m"]
    command = [*launcher, "bnfold_cli", *map(str, arguments)]
    environment = child_environment(OMP_NUM_THREADS="1")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    return Outcome(done.returncode, done.stdout, done.stderr)


def told(outcome: Outcome) -> list[str]:
    """Return the lines on stderr that are bnfold's, and not torchrun's own."""
    return [line for line in outcome.err.splitlines() if re.match("(internal )?error:|warning:", line)]


def test_processes_of_torchrun_share_the_samples(bnfold: Run, trained: Path) -> None:
    """Two processes write one run, print one document, count each sample once, and agree with one process."""
    assert bnfold("calibrate", trained, "-o", "one").code == 0
    done = torchrun("calibrate", trained, "-o", "two", "--json")
    assert done.code == 0, done.err
    assert document(done.out)["report"]["samples"] == 1437
    one, two = statistics("one"), statistics("two")
    for name, array in one.items():
        # The same sums in another order, in float64, and rounded once to float32.
        np.testing.assert_allclose(two[name], array, rtol=2**-22, atol=2**-22)


UNRELIABLE = """
import os
import signal

from torch import nn


class Net(nn.Sequential):
    calls = 0

    def forward(self, images):
        self.calls += 1
        if self.calls > 20 and os.environ.get("RANK") == "{rank}":
            {failure}
        return super().forward(images if images.mean() < 1e9 else images * 0)


def build():
    return Net(nn.Flatten(), nn.Linear(64, 7), nn.BatchNorm1d(7), nn.Linear(7, 10))
"""
"""A network that no tracer can capture, so that it runs on every batch, and fails in one of the processes."""


KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("processes", "rank", "failure", "message"),
    [
        (2, 1, KILLED, r"another process of the calibration ended .* nothing was written: start it again"),
        (3, 0, KILLED, r"another process of the calibration ended .* nothing was written: start it again"),
        (2, 1, "raise ValueError('planted')", "error: process 1 of 2 failed: ValueError: planted"),
    ],
)
def test_a_process_that_fails_ends_all_with_one_line(
    bnfold: Run, processes: int, rank: int, failure: str, message: str
) -> None:
    """Killed, the first or another, or with an error that the first did not have: one speaks, nothing is written."""
    Path("net.py").write_text(UNRELIABLE.format(rank=rank, failure=failure))
    assert bnfold("train", "net.py:build", "--data", "digits", "-o", "run", "--steps", 2).code == 0
    before = {path.name for path in Path().iterdir()}
    done = torchrun("calibrate", "run", "-o", "new", "--report", "s.json", processes=processes)
    assert done.code != 0
    (line,) = told(done)
    assert re.search(message, line)
    assert done.out == ""
    assert {path.name for path in Path().iterdir()} - {"__pycache__"} == before - {"__pycache__"}


def test_processes_share_no_onnx_file(bnfold: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX file is one process's work; the others would write the same file."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    outcome = bnfold("calibrate", write_model(Path("m.onnx")), "--data", "digits", "-o", "new.onnx")
    assert outcome.code == 2
    assert "calibrate an ONNX file without torchrun" in outcome.err
