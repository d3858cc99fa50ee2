"""The command line under torchrun itself: two processes, and what one of them that is killed leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bnfold.training import Hyperparameters, Run, resolve_model, train
from tests.training.conftest import REPOSITORY
from tests.training.tiny import metrics

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="torchrun's rendezvous is tried on POSIX only")

STEPS = 12
KILLED_AT = 7
NETWORK = """
import os
import signal

from torch import nn


class Net(nn.Module):
    calls = 0

    def __init__(self):
        super().__init__()
        first = nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        self.layers = nn.Sequential(*first, nn.Flatten(), nn.Linear(6 * 6 * 6, 10))

    def forward(self, images):
        self.calls += self.training
        if self.calls > int(os.environ.get("KILLED_AT", "1000")) and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layers(images)


def build():
    return Net()
"""
"""With a process that kills itself in the given forward pass; the one of the first check is counted too."""
SETTINGS: dict[str, Any] = {"steps": STEPS, "batch_size": 61, "evaluate_every": 3, "device": "cpu"}


def torchrun(place: Path, run: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Train in two processes, as a user would start them."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    command = [*launch, "-m", "bnfold_cli", "train", "net.py:build", "--data", "digits", "-o", run, *options]
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        command,
        cwd=place,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network, and its training in this process alone."""
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "net.py").write_text(NETWORK)
    alone(folder, "alone")
    return folder


def alone(place: Path, run: str, *, resume: bool = False) -> None:
    """Train, or go on, in one process."""
    source = resolve_model(f"{place / 'net.py'}:build", {}, REPOSITORY / "sample_models")
    train(source, "digits", Hyperparameters(**SETTINGS), place / run, resume=resume)


def assert_same_curve(place: Path, run: str) -> None:
    """Check a run's losses against those of one process.

    In float32 sums in another order differ by 6e-8 of themselves. Twelve updates let that grow; what one is allowed
    stays far below the 1/61 of a sample that counts twice.
    """
    expected, found = metrics(place / "alone"), metrics(place / run)
    assert [line["step"] for line in found] == [3, 6, 9, 12] == [line["step"] for line in expected]
    for one, two in zip(expected, found, strict=True):
        for key in ("train_loss", "test_loss"):
            assert two[key] == pytest.approx(one[key], rel=0, abs=1e-4)


def test_torchrun_gives_the_loss_curve_of_one_process(place: Path) -> None:
    """Started as the README says, two processes train one network; the first alone speaks."""
    done = torchrun(place, "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The run is in two.") == 1
    assert json.loads((place / "two" / "run.json").read_text())["processes"] == 2
    assert_same_curve(place, "two")


def test_a_killed_worker_leaves_a_run_that_one_process_ends(place: Path) -> None:
    """The survivor says what happened and what to do; without the other the run ends as it would have."""
    done = torchrun(place, "killed", KILLED_AT=str(KILLED_AT + 1))
    assert done.returncode != 0
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "another process of the training ended (killed, out of memory, or with an error of its own)" in told
    assert "start it again with --resume, with as many processes as you like" in told
    assert not Run.open(place / "killed").finished
    assert [line["step"] for line in metrics(place / "killed")] == [3, 6]
    alone(place, "killed", resume=True)
    assert Run.open(place / "killed").finished
    assert_same_curve(place, "killed")
