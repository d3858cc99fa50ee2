from pathlib import Path

import pytest


@pytest.fixture
def builtins() -> Path:
    """The folder of the built-in models."""
    return Path(__file__).parents[2] / "sample_models"
