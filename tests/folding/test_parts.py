"""Parts of a graph: what goes of them together is what goes of all maps, tried one after the other."""

import importlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bnfold.folding.forms import Pointwise
from bnfold.folding.gauges import Gauges
from bnfold.folding.network import Facts, Network
from bnfold.folding.parts import parts
from bnfold.folding.plan import state_rules
from bnfold.folding.solve import solve
from tests.folding.builder import Builder
from tests.folding.steps import STEPS
from tests.folding.strategies import Case, programs

SOLVE = importlib.import_module("bnfold.folding.solve")


@given(programs(STEPS, longest=12))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_goes_together_is_what_goes_one_by_one(case: Case) -> None:
    """Whether maps are tried part by part or each by itself, the same ones go, for the same reasons."""
    with np.errstate(all="ignore"):
        network = state_rules(Network(Facts(case.model)))
        whole = solve(network)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SOLVE, "parts", _each_by_itself)
            patch.setattr(SOLVE, "_BATCH", 0)
            single = solve(network)
    assert whole.removed == single.removed
    assert {p: refusal.reason for p, refusal in whole.refused.items()} == {
        p: refusal.reason for p, refusal in single.refused.items()
    }


def _each_by_itself(_: Gauges, pointwise: list[Pointwise]) -> list[list[Pointwise]]:
    return [[each] for each in pointwise]


def test_linear_operators_part_a_graph() -> None:
    """Normalizations on either side of a Conv bear on different gauges; those of one sum, on the same."""
    b = Builder()
    x = b.input(1, 3, 8, 8)
    first, second = (b.batch_norm(b.conv(x, 3, 4, 1, 1), 4) for _ in range(2))
    b.batch_norm(b.conv(b("Add", first, second), 4, 5, 1, 1), 5)
    assert _sizes(b) == [2, 1]


def test_what_is_held_joins_nothing() -> None:
    """Normalizations between operators without a rule have nothing in common, though all their results are held."""
    b = Builder()
    x = b.input(1, 3, 8, 8)
    for _ in range(3):
        b("Sigmoid", b.batch_norm(b("Sigmoid", b.conv(x, 3, 4, 1, 1)), 4))
    assert _sizes(b) == [1, 1, 1]


def _sizes(b: Builder) -> list[int]:
    read = {name for node in b.nodes for name in node.input}
    outputs = [name for node in b.nodes for name in node.output if name not in read]
    network = state_rules(Network(Facts(b.model(*outputs))))
    return [len(part) for part in parts(network.gauges, list(network.maps.values()))]
