from pathlib import Path

import pytest

from tests.training.tiny import SOURCE, TinyTraining

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def builtins() -> Path:
    """The folder of the built-in models."""
    return REPOSITORY / "sample_models"


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """A model file of the user's with everything that a resumed run has to get right."""
    path = tmp_path / "tiny.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def tiny(tiny_file: Path, builtins: Path) -> TinyTraining:
    """Short trainings of the tiny model on the digits."""
    return TinyTraining(tiny_file, builtins)


@pytest.fixture
def whole(tiny: TinyTraining, tmp_path: Path) -> Path:
    """The run folder of an uninterrupted training."""
    tiny.train(tmp_path / "whole")
    return tmp_path / "whole"
