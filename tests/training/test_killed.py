import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training import killed_trainings
from tests.training.conftest import REPOSITORY
from tests.training.tiny import PER_EPOCH, TinyTraining, weights

STEPS = [1, 5, PER_EPOCH, 11]


def run_program(tiny: TinyTraining, place: Path, moments: list[str]) -> dict[str, dict[str, object]]:
    """Return what became of the trainings killed at ``moments``."""
    place.mkdir()
    arguments = [str(place), str(tiny.file), str(tiny.builtins), *moments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", killed_trainings.__file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(results: dict[str, dict[str, object]], expected: str) -> None:
    """Check that every training was killed, resumed, and ended as if it had not been."""
    for moment, result in results.items():
        assert result["killed"] == -signal.SIGKILL, moment
        assert (result["resumed"], result["weights"]) == (0, expected), moment
        assert result["measured"] == [PER_EPOCH, 2 * PER_EPOCH], moment
        assert result["hidden"] == [], moment


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are cheap to start")
def test_a_training_killed_at_any_moment_ends_with_the_same_bits(tiny: TinyTraining, tmp_path: Path) -> None:
    """SIGKILL at steps from outside, and before file operations from first to last, changes no bit of the result."""
    tiny.train(tmp_path / "whole")
    moments = [*(f"step {step}" for step in STEPS), *(f"file {number}" for number in (7, 19, 28, 47, 58, 65))]
    results = run_program(tiny, tmp_path / "killed", moments)
    assert len({str(result["left"]) for result in results.values()}) >= 3
    check(results, weights(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are cheap to start")
def test_a_training_killed_at_every_moment_ends_with_the_same_bits(tiny: TinyTraining, tmp_path: Path) -> None:
    """The same before each and every file operation, until there are none left to be killed at."""
    tiny.train(tmp_path / "whole")
    results = run_program(tiny, tmp_path / "killed", [f"file {number}" for number in range(1, 101)])
    killed = [moment for moment, result in results.items() if result["killed"] == -signal.SIGKILL]
    assert killed == [f"file {number}" for number in range(1, len(killed) + 1)]
    assert 50 < len(killed) < 100
    check({moment: results[moment] for moment in killed}, weights(tmp_path / "whole"))
