"""Tests of ``bnfold.export.tune``: what is measured, and what it takes to overrule the cost models."""

from functools import partial

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.bench.pair import Pair
from bnfold.bench.spread import Spread
from bnfold.errors import InputError
from bnfold.export import Strategy, Transformed, Trial, Tuning, transform, tune
from bnfold.export.tune import strategies
from bnfold.folding import Objective
from bnfold.verify.provider import Provider
from tests.folding.builder import Builder

FIRST, OTHER, THIRD = strategies(Objective.LATENCY)[:3]


def made(model: ir.Model, strategy: Strategy) -> Transformed:
    """Return what the strategy makes of a copy."""
    return transform(model.clone(), strategy=strategy)


def behind_relu() -> ir.Model:
    """Return Conv → BN → Relu → BN: the last one goes at the price of a maximum, which the cost model finds slower."""
    b = Builder(dtype=np.float32)
    x = b.batch_norm(b.conv(b.input(1, 3, 8, 8), 3, 4, 3, 3), 4)
    x = b.batch_norm(b("Relu", x), 4)
    return b.model(b("Conv", x, b.normal(4, 4, 3, 3), pads=[1] * 4))


def test_every_graph_that_differs_is_measured_once() -> None:
    """With a BN behind a Relu there are two: one keeps it; what merging does not touch is not told apart."""
    model = behind_relu()
    x = np.zeros((1, 3, 8, 8), np.float32)
    transformed, tuning = tune(partial(made, model), {"x": x}, rounds=3)
    assert [trial.strategy.objective for trial in tuning.trials] == [Objective.LATENCY, Objective.NO_BN]
    assert all(trial.seconds is not None and trial.seconds.lowest > 0 for trial in tuning.trials)
    assert tuning.chosen in [trial.strategy for trial in tuning.trials]
    kept = [node.op_type for node in transformed.graph.graph].count("BatchNormalization")
    assert kept == (tuning.chosen.objective is Objective.LATENCY)
    assert [node.op_type for node in model.graph].count("BatchNormalization") == 2, "what is tuned stays as it was"


def test_nothing_is_run_where_nothing_differs() -> None:
    """A batch that no session could take does no harm."""
    b = Builder(dtype=np.float32)
    model = b.model(b.batch_norm(b.conv(b.input(1, 3, 8, 8), 3, 4, 3, 3), 4))
    _, tuning = tune(partial(made, model), {"x": np.zeros(7)})
    assert (tuning.rounds, len(tuning.trials), tuning.chosen) == (0, 1, FIRST)


def test_inputs_that_do_not_fit() -> None:
    """The runtime's words."""
    with pytest.raises(InputError, match="rank"):
        tune(partial(made, behind_relu()), {"x": np.zeros(7, np.float32)}, rounds=1)


def test_who_asks_for_no_normalizations_gets_none() -> None:
    """However fast it would be to keep them."""
    assert {strategy.objective for strategy in strategies(Objective.NO_BN)} == {Objective.NO_BN}


def trial(strategy: Strategy, *ratios: float) -> Trial:
    """Return a trial with ratios to the first one's time."""
    found = Spread.of(ratios)
    return Trial(strategy, 3, found, Pair("a", "b", found, Spread.of([0.99, 1.0, 1.0, 1.0, 1.01])))


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([trial(OTHER, 0.9, 0.9, 0.9)], OTHER),
        ([trial(OTHER, 0.9, 0.9, 0.9), trial(THIRD, 0.8, 0.8, 0.8)], THIRD),
        ([trial(OTHER, 1.1, 1.1, 1.1)], FIRST),
        ([trial(OTHER, 0.6, 0.9, 1.2, 1.5)], FIRST),  # cannot be told
        ([trial(OTHER, 0.6, 0.7, 1.2, 1.5), trial(THIRD, 0.9, 0.9, 0.9)], THIRD),
    ],
)
def test_only_what_is_faster_beyond_noise_overrules_the_cost_models(trials: list[Trial], chosen: Strategy) -> None:
    """The fastest of those that are, and the cost models' own graph where none is."""
    first = Trial(FIRST, 3, Spread.of([1.0]), None)
    assert Tuning(Provider.CPU, 5, (first, *trials)).chosen == chosen
