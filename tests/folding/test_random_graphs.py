"""Random graphs over the whole operator table: the folded graph computes what the original does."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bnfold.folding.plan import Objective
from bnfold.folding.rules import RULES
from tests.folding.checker import fold_checked
from tests.folding.steps import STEPS, STRANGERS
from tests.folding.strategies import OPSETS, Case, programs

QUIET = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""The machine may be loaded, and a graph takes many draws: neither is a finding."""


def check(case: Case, objective: Objective = Objective.LATENCY) -> None:
    """Fold one graph and compare."""
    with np.errstate(all="ignore"):
        fold_checked(case.model, case.inputs, objective=objective)


@pytest.mark.parametrize("objective", Objective)
@pytest.mark.parametrize("opset", OPSETS)
def test_random_graphs(opset: int, objective: Objective) -> None:
    """Any graph of these operators folds to an equal one, with a true report and nothing left to fold."""

    @given(programs(STEPS | STRANGERS, opsets=[opset]))
    @settings(QUIET, max_examples=250)  # 2,000 in all
    def run(case: Case) -> None:
        check(case, objective)

    run()


@pytest.mark.parametrize("objective", Objective)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.slow
def test_many_random_graphs(opset: int, objective: Objective) -> None:
    """The same over longer graphs and many more of them."""

    @given(programs(STEPS | STRANGERS, opsets=[opset], longest=14))
    @settings(QUIET, max_examples=12_500)  # 100,000 in all
    def run(case: Case) -> None:
        check(case, objective)

    run()


@pytest.mark.parametrize("operator", sorted(STEPS))
def test_every_operator_between_normalizations(operator: str) -> None:
    """Every operator of the table, drawn for sure, a few times."""

    @given(programs(STEPS, required=["Conv", operator, "Conv"], longest=2))
    @settings(QUIET, max_examples=5)
    def run(case: Case) -> None:
        check(case)

    run()


def test_every_rule_has_a_step() -> None:
    """An operator that gets a rule gets a step here; Upsample and Size share theirs with Resize and Shape."""
    assert set(STEPS) == set(RULES) - {"GroupNormalization", "RMSNormalization", "Upsample", "Size"}
