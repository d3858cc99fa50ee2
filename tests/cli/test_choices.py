from enum import StrEnum
from typing import get_args

import pytest

from bnfold.export import Precision as ExportPrecision
from bnfold.export import Target
from bnfold.folding import COSTS, Objective
from bnfold.population import Estimator
from bnfold.training import Device, Keep, Optimizer, Precision, Schedule, builtin_names
from bnfold.verify.provider import Provider
from bnfold_cli import choices
from bnfold_cli.options import model_names
from bnfold_cli.samples import builtin_models


@pytest.mark.parametrize(
    ("literal", "enumeration"),
    [
        (choices.Estimator, Estimator),
        (choices.Objective, Objective),
        (choices.Provider, Provider),
        (choices.Optimizer, Optimizer),
        (choices.Schedule, Schedule),
        (choices.Device, Device),
        (choices.Precision, Precision),
        (choices.ExportPrecision, ExportPrecision),
        (choices.Target, Target),
        (choices.Keep, Keep),
    ],
)
def test_choices_are_the_librarys(literal: object, enumeration: type[StrEnum]) -> None:
    """An option offers what the library takes, all of it and nothing else."""
    assert set(get_args(literal)) == {member.value for member in enumeration}


def test_the_cost_model_has_every_provider() -> None:
    """With figures or with a word that there are none."""
    assert list(COSTS) == list(get_args(choices.Provider))


def test_completion_knows_the_built_in_models() -> None:
    """The names that the shell completes are those that a model is found by."""
    assert model_names("") == builtin_names(builtin_models())
    assert "digits-cnn" in model_names("dig")
