import subprocess
import sys

import pytest

import bnfold.training


def test_public_names_are_pinned_and_resolve() -> None:
    """A name that users may import is removed or added on purpose only, and each leads to an object of its own name."""
    assert bnfold.training.__all__ == [
        "Device",
        "Hyperparameters",
        "Keep",
        "Measurement",
        "Metrics",
        "ModelSource",
        "Optimizer",
        "Precision",
        "Recipe",
        "Run",
        "Schedule",
        "TrainResult",
        "builtin_names",
        "evaluate",
        "evaluate_as_trained",
        "resolve_model",
        "train",
        "write_run",
    ]
    for name in bnfold.training.__all__:
        assert getattr(bnfold.training, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match=r"module 'bnfold\.training' has no attribute 'trian'"):
        bnfold.training.__getattr__("trian")


def test_names_recipes_and_hyperparameters_do_not_import_torch() -> None:
    """What the command line's help and option checks need comes without torch."""
    program = (
        "import sys; from pathlib import Path; from bnfold.training.models import builtin_names, resolve_model;"
        "from bnfold.training import Hyperparameters, Recipe, Schedule;"
        "folder = Path('sample_models'); names = builtin_names(folder);"
        "[resolve_model(name, {}, folder).recipe.hyperparameters({}) for name in names];"
        "print(len(names) >= 3, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]
