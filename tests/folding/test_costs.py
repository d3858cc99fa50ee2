"""The cost model: what the default objective takes, keeps and says."""

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.folding import Objective, fold
from bnfold.folding.costs import COSTS, Costs
from bnfold.folding.plan import make_plan
from bnfold.folding.report import Reason
from tests.folding.builder import Builder
from tests.folding.checker import fold_checked

CHEAP_MAXIMUM = Costs(normalization=1.0, relu=1.0, threshold=0.5, addition=1.0, multiplication=1.0, border_map=0.5)


def shared_feature(batch: int | str = "N") -> ir.Model:
    """Conv → two times BN → Relu → Conv: one BN goes into the Conv, the other's shift only by way of a threshold."""
    b = Builder()
    x = b.conv(b.input(batch, 3, 6, 5), 3, 4, 1, 1)
    branches = [b.conv(b("Relu", b.batch_norm(x, 4, name=name)), 4, 4, 1, 1) for name in ("first", "second")]
    return b.model(b("Concat", *branches, axis=1))


def test_what_is_slower_stays_and_says_so() -> None:
    """On the CPU a normalization with its Relu is one cheap pass, a maximum is not."""
    report = fold_checked(shared_feature()).report
    (kept,) = [outcome for outcome in report.batch_norms if not outcome.removed]
    assert kept.reason is Reason.SLOWER
    assert "Relu" in kept.detail
    assert "--objective no-bn" in kept.detail
    assert fold_checked(shared_feature(), objective=Objective.NO_BN).report.kept_count == 0


def dense_block() -> ir.Model:
    """Conv, of which BN → Relu → Conv makes channels more, and BN → Relu → Conv of all: one BN's shift can be free."""
    b = Builder()
    x = b.conv(b.input("N", 3, 6, 5), 3, 4, 1, 1)
    grown = b.conv(b("Relu", b.batch_norm(x, 4, name="narrow")), 4, 2, 1, 1)
    block = b("Concat", x, grown, axis=1)
    return b.model(b.conv(b("Relu", b.batch_norm(block, 6, name="wide")), 6, 4, 1, 1))


def test_of_two_that_exclude_each_other_the_dearer_goes() -> None:
    """The normalization of more channels, though it comes last; without figures it is the first."""
    kept = [outcome.name for outcome in fold_checked(dense_block()).report.batch_norms if not outcome.removed]
    assert kept == ["narrow"]
    kept = [outcome.name for outcome in fold(dense_block(), provider="cuda").batch_norms if not outcome.removed]
    assert kept == ["wide"]
    assert fold_checked(dense_block(), objective=Objective.NO_BN).report.kept_count == 0


def test_an_empty_batch_has_its_costs_too() -> None:
    """A file that declares a batch of 0 is judged by its other extents."""
    assert [outcome.reason for outcome in fold(shared_feature(batch=0)).batch_norms] == [None, Reason.SLOWER]


def test_what_is_faster_goes() -> None:
    """Where a maximum is cheaper than a normalization with its Relu, the default objective takes it."""
    plan = make_plan(shared_feature(), costs=CHEAP_MAXIMUM)
    assert all(outcome.removed for outcome in plan.outcomes.values())
    assert plan.solution.shift[plan.thresholds[0].label].any()


def test_without_figures_nothing_is_taken_that_has_a_price() -> None:
    """For a device that nobody measured the free rules decide, and the reason is theirs."""
    plan = make_plan(shared_feature(), costs=None)
    assert {outcome.reason for outcome in plan.outcomes.values()} == {None, Reason.SHIFT_FIXED}


def test_a_normalization_takes_up_arithmetic_where_that_is_cheaper() -> None:
    """Of x → BN → Mul → Add → Sigmoid one pass stays: the normalization, which is the cheapest on the CPU."""
    b = Builder()
    x = b.batch_norm(b.input("N", 3, 6, 5), 3)
    y = b("Add", b("Mul", x, b.positive(3, 1, 1)), b.normal(3, 1, 1))
    folded = fold_checked(b.model(b("Sigmoid", y)))
    assert [node.op_type for node in folded.model.graph] == ["BatchNormalization", "Sigmoid"]
    folded = fold_checked(b.model(b("Sigmoid", y)), objective=Objective.NO_BN)
    assert folded.count("BatchNormalization") == 0


@pytest.mark.parametrize("provider", [provider for provider, costs in COSTS.items() if costs is not None])
def test_the_figures_are_figures(provider: str) -> None:
    """Every pass costs something, and a Relu that a host takes in is not dearer than one that stands alone."""
    assert all(np.isfinite(cost) and cost > 0 for cost in vars(COSTS[provider]).values())


def test_a_border_map_has_its_price() -> None:
    """BN → zero-padded Conv: the constant map behind the Conv is larger and dearer than the normalization before it."""
    b = Builder()
    model = b.model(b.conv(b.batch_norm(b.input(1, 3, 6, 5), 3), 3, 4, 3, 3, pads=[1, 1, 1, 1]))
    assert fold(model.clone()).batch_norms[0].reason is Reason.SLOWER
    assert all(outcome.removed for outcome in make_plan(model, costs=CHEAP_MAXIMUM).outcomes.values())


def test_a_provider_that_was_not_measured_takes_what_is_free() -> None:
    """The others are refused by name."""
    report = fold(shared_feature(), provider="cuda")
    assert [outcome.reason for outcome in report.batch_norms] == [None, Reason.SHIFT_FIXED]
    with pytest.raises(InputError, match="provider abacus: expected one of cpu, cuda, tensorrt"):
        fold(shared_feature(), provider="abacus")
