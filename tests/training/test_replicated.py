"""Several processes that train together give what one process gives."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training import replicated_trainings
from tests.training.conftest import REPOSITORY
from tests.training.replicated_trainings import KILLED_AT, MASKS, NETWORK, train_masks, train_plain
from tests.training.tiny import PER_EPOCH, SOURCE, TOTAL, metrics, weights

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are cheap to start")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the runs; ``results.json`` is what the processes told."""
    folder = tmp_path_factory.mktemp("replicated")
    (folder / "tiny.py").write_text(SOURCE)
    (folder / "net.py").write_text(NETWORK)
    (folder / "masks.py").write_text(MASKS)
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            replicated_trainings.__file__,
            str(folder),
            str(folder / "tiny.py"),
            str(REPOSITORY / "sample_models"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    (folder / "results.json").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def results(place: Path) -> dict[str, list[dict[str, Any]]]:
    """What every process of every training told."""
    return json.loads((place / "results.json").read_text())


@pytest.fixture(scope="module")
def alone(place: Path) -> list[dict[str, Any]]:
    """The measurements of the same training in one process."""
    train_plain(place, "alone")
    return metrics(place / "alone")


@pytest.mark.parametrize("name", ["together", "joined", "left"])
def test_two_processes_give_the_loss_curve_of_one(
    place: Path, results: dict[str, list[dict[str, Any]]], alone: list[dict[str, Any]], name: str
) -> None:
    """In float64 the losses differ by rounding, and so do those of runs that another number of processes had begun."""
    steps = [2, 4] if name == "together" else [2, 4, 6]
    assert all(told["steps"] == steps for told in results[name])
    found = metrics(place / name)
    assert [line["step"] for line in found] == steps
    for one, two in zip(alone, found, strict=False):
        # Sums in another order differ by some 1e-15; six updates grow that a little. A sample counted once too often,
        # or an update weighed by the wrong count, is one part in 1797 at least.
        for key in ("train_loss", "test_loss"):
            assert two[key] == pytest.approx(one[key], rel=0, abs=1e-10)
        assert two["population"]["loss"] == pytest.approx(one["population"]["loss"], rel=0, abs=1e-10)
        assert two["metrics"] == one["metrics"]


def test_images_with_different_numbers_of_objects_count_alike_in_parts(
    place: Path, results: dict[str, list[dict[str, Any]]]
) -> None:
    """The losses of the detector and of its masks are means over images: how these are shared changes nothing."""
    assert [told["steps"] for told in results["masks"]] == [[3]] * 2
    train_masks(place, "masks alone")
    for one, two in zip(metrics(place / "masks alone"), metrics(place / "masks"), strict=True):
        # Rounding, as above; were images weighed by their objects, it would be some percent.
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-10)
        assert two["test_loss"] == pytest.approx(one["test_loss"], rel=1e-10)


def test_a_worker_killed_in_the_middle_leaves_a_run_that_ends_the_same(
    place: Path, results: dict[str, list[dict[str, Any]]]
) -> None:
    """The other one says what happened and how to go on; resumed, dropout and all, the weights are the same bits."""
    survivor, dead = results["killed"]
    assert dead == {"ended": -signal.SIGKILL}
    assert survivor["error"] == "ProcessLostError"
    assert "another process of the training ended" in survivor["message"]
    assert "--resume" in survivor["message"]
    assert [told["steps"] for told in results["resumed"]] == [[PER_EPOCH, TOTAL]] * 2
    assert weights(place / "killed") == weights(place / "whole")
    assert metrics(place / "killed") == metrics(place / "whole")


def test_a_signal_to_one_process_ends_all_at_the_same_step(
    place: Path, results: dict[str, list[dict[str, Any]]]
) -> None:
    """SIGTERM reaches one of two in its sixth step: both end behind it, and go on from there to the same bits."""
    assert [told["error"] for told in results["terminated"]] == ["InterruptedTrainingError"] * 2
    words = f"step {KILLED_AT + 1} of {TOTAL} is saved; go on with --resume"
    assert all(words in told["message"] for told in results["terminated"])
    assert weights(place / "terminated") == weights(place / "whole")
    assert metrics(place / "terminated") == metrics(place / "whole")


def test_only_the_first_process_writes(place: Path) -> None:
    """The folder holds one run, with one line a measurement and the number of processes in its record."""
    record = json.loads((place / "together" / "run.json").read_text())
    assert (record["processes"], record["finished"]) == (2, True)
    assert sorted(path.name for path in (place / "together").iterdir()) == [
        "best.safetensors",
        "checkpoint.safetensors",
        "metrics.jsonl",
        "model.safetensors",
        "run.json",
    ]
