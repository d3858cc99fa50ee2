"""The algebra: scale classes with factors and signs, shift equations, and taking everything back."""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.folding.contradiction import NO_CAUSE, Contradiction, Obstacle
from bnfold.folding.gauges import IDENTITY, Gauges

COUNT = 6
"""Variables beside the identity: few, so that random statements meet."""

variables = st.integers(0, COUNT)
factors = st.sampled_from([1.0, -1.0, 0.5, -2.0, 3.0])
Statement = Callable[[Gauges, int], None]


@dataclass(frozen=True)
class Truth:
    """A gauge for every variable, (1, 0) for the identity: what all statements of a test are true of."""

    scales: tuple[float, ...]
    shifts: tuple[float, ...]

    def ratio(self, i: int, j: int) -> float:
        """Return s_i / s_j."""
        return self.scales[i] / self.scales[j]


@given(st.lists(st.lists(st.tuples(variables, variables), min_size=1, max_size=4), max_size=12), variables, variables)
def test_a_contradiction_names_the_chain_of_statements(stated: list[list[tuple[int, int]]], i: int, j: int) -> None:
    """The causes are those on the one way from i to j over what joined two classes, in order, and no others."""
    gauges, chains = fresh(), {i: list[int]()}
    roads: dict[int, list[tuple[int, int]]] = {}
    for cause, pairs in enumerate(stated):
        for left, right in pairs:
            if root_of(gauges, left)[0] != root_of(gauges, right)[0]:
                roads.setdefault(left, []).append((right, cause))
                roads.setdefault(right, []).append((left, cause))
            gauges.relate_scales(left, right, 1.0, cause)
    for here in (ahead := [i]):
        for there, cause in roads.get(here, []):
            if there not in chains:
                chains[there] = [*chains[here], cause]
                ahead.append(there)
    if j in chains:
        with pytest.raises(Contradiction, match="scale") as caught:
            gauges.relate_scales(i, j, 2.0, len(stated))
        assert list(caught.value.causes) == list(dict.fromkeys(chains[j]))


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """Draw scales of both signs, and shifts."""
    scales = draw(st.lists(factors, min_size=COUNT, max_size=COUNT))
    shifts = draw(st.lists(st.integers(-4, 4), min_size=COUNT, max_size=COUNT))
    return Truth((1.0, *scales), (0.0, *map(float, shifts)))


@st.composite
def true_statements(draw: st.DrawFn, truth: Truth) -> Statement:
    """Draw a statement that holds in ``truth``."""
    i, j, k = draw(variables), draw(variables), draw(variables)
    match draw(st.integers(0, 3)):
        case 0:
            return lambda gauges, cause: gauges.relate_scales(i, j, truth.ratio(i, j), cause)
        case 1 if truth.scales[i] > 0:
            return lambda gauges, cause: gauges.require_positive(i, cause)
        case 2 if truth.shifts[i] == 0:
            return lambda gauges, cause: gauges.forbid_shift(i, cause)
        case _:
            terms = [(draw(factors), variable) for variable in (i, j, k)]
            constant = sum(coefficient * truth.shifts[variable] for coefficient, variable in terms)
            return lambda gauges, cause: gauges.relate_shifts(terms, constant, cause)


@st.composite
def any_statements(draw: st.DrawFn) -> Statement:
    """Draw a statement that may contradict others."""
    i, j, factor = draw(variables), draw(variables), draw(factors)
    match draw(st.integers(0, 3)):
        case 0:
            return lambda gauges, cause: gauges.relate_scales(i, j, factor, cause)
        case 1:
            return lambda gauges, cause: gauges.require_positive(i, cause)
        case 2:
            return lambda gauges, cause: gauges.forbid_shift(i, cause)
        case _:
            return lambda gauges, cause: gauges.relate_shifts([(factor, i), (-1.0, j)], factor, cause)


def fresh() -> Gauges:
    """Return gauges with variables 1 to `COUNT` beside the identity."""
    gauges = Gauges()
    assert gauges.fresh(COUNT).tolist() == list(range(1, COUNT + 1))
    return gauges


def observed(gauges: Gauges) -> dict[int, object]:
    """Return all that a caller can see: classes, factors within them, signs, shifts."""
    seen: dict[int, object] = {}
    for i in range(len(gauges)):
        root, factor = root_of(gauges, i)
        seen[i] = (root, factor, int(gauges.signs(np.array(root))), solution(gauges, i))
    return seen


def root_of(gauges: Gauges, i: int) -> tuple[int, float]:
    """Return the representative of one variable's class, and the variable's factor."""
    root, factor = gauges.roots(np.array([i]))
    return int(root[0]), float(factor[0])


def shift(gauges: Gauges, i: int) -> float:
    """Return one shift."""
    return float(gauges.shifts(np.array([i]))[0])


def solution(gauges: Gauges, i: int) -> object:
    """Return what one shift was solved for."""
    ids, equations = np.array([i]), gauges._shifts
    equations._resolve(ids)
    if not equations._eliminated[i]:
        return "free"
    _, variables, coefficients = equations._terms(ids)
    return float(equations._constant[i]), variables.tolist(), coefficients.tolist()


def state(gauges: Gauges, statements: list[Statement]) -> int:
    """Make statements, those that contradict others taken back one by one; return how many did."""
    contradictions = 0
    for cause, statement in enumerate(statements):
        mark = gauges.checkpoint()
        try:
            statement(gauges, cause)
        except Contradiction:
            gauges.rollback(mark)
            contradictions += 1
    return contradictions


@given(st.data())
def test_true_statements_never_contradict(data: st.DataObject) -> None:
    """What holds together can be stated together, and what follows from it is what is true."""
    truth = data.draw(truths())
    gauges = fresh()
    for cause, statement in enumerate(data.draw(st.lists(true_statements(truth), max_size=12))):
        statement(gauges, cause)
    for i in range(COUNT + 1):
        for j in range(COUNT + 1):
            (root_i, factor_i), (root_j, factor_j) = root_of(gauges, i), root_of(gauges, j)
            if root_i == root_j:
                assert factor_i / factor_j == pytest.approx(truth.ratio(i, j), rel=1e-12)
        root, factor = root_of(gauges, i)
        assert int(gauges.signs(np.array(root))) * factor * truth.scales[i] >= 0


@given(st.data())
def test_shifts_solve_every_equation_stated(data: st.DataObject) -> None:
    """With free shifts at 0, each equation still holds."""
    truth = data.draw(truths())
    gauges = fresh()
    equations: list[tuple[list[tuple[float, int]], float]] = []
    for cause in range(data.draw(st.integers(0, 8))):
        terms = data.draw(st.lists(st.tuples(factors, variables), min_size=1, max_size=4))
        constant = sum(coefficient * truth.shifts[i] for coefficient, i in terms)
        gauges.relate_shifts(terms, constant, cause)
        equations.append((terms, constant))
    for terms, constant in equations:
        total = sum(coefficient * shift(gauges, i) for coefficient, i in terms)
        # Eight eliminations by pivots of a thousandth at most, of numbers below a hundred.
        assert total == pytest.approx(constant, rel=0, abs=1e-9)


@given(st.data())
def test_a_false_statement_is_refused(data: st.DataObject) -> None:
    """Once s_i/s_j or a shift is determined, anything else about it contradicts."""
    truth = data.draw(truths())
    gauges = fresh()
    statements = data.draw(st.lists(true_statements(truth), max_size=10))
    for cause, statement in enumerate(statements):
        statement(gauges, cause)
    i, j = data.draw(variables), data.draw(variables)
    if root_of(gauges, i)[0] == root_of(gauges, j)[0]:
        with pytest.raises(Contradiction, match="scale") as caught:
            gauges.relate_scales(i, j, 1.5 * truth.ratio(i, j), len(statements))
        assert caught.value.obstacle is Obstacle.SCALE
        assert set(caught.value.causes) <= set(range(len(statements)))


@st.composite
def dependent_equations(draw: st.DrawFn) -> list[tuple[list[tuple[float, int]], float]]:
    """Draw equations, and as the last a combination of them with another constant: no shifts solve all."""
    decimals = st.sampled_from([0.1, 0.3, 0.7, -0.9, 1.1, -1.3])  # none of which float64 holds exactly
    equations: list[tuple[list[tuple[float, int]], float]] = []
    for _ in range(draw(st.integers(1, 3))):
        ids = draw(st.lists(st.integers(1, COUNT), min_size=2, max_size=3, unique=True))
        equations.append(([(draw(decimals), i) for i in ids], draw(decimals)))
    total, constant = dict[int, float](), 0.0
    for terms, right in equations:
        weight = draw(decimals)
        constant += weight * right
        for coefficient, i in terms:
            total[i] = total.get(i, 0.0) + weight * coefficient
    return [*equations, ([(coefficient, i) for i, coefficient in total.items()], constant + 1.0)]


@given(dependent_equations())
def test_what_cancels_but_for_rounding_has_cancelled(equations: list[tuple[list[tuple[float, int]], float]]) -> None:
    """A coefficient that is left over from rounding is no coefficient: no shift of 10¹⁵ solves the contradiction."""
    gauges = fresh()
    with pytest.raises(Contradiction, match="shift"):  # noqa: PT012  (any of the equations may be the one refused)
        for cause, (terms, constant) in enumerate(equations):
            gauges.relate_shifts(terms, constant, cause)
    assert max(abs(shift(gauges, i)) for i in range(len(gauges))) < 1e6


@given(st.lists(any_statements(), max_size=10), st.lists(any_statements(), max_size=10))
def test_rollback_restores_everything(first: list[Statement], second: list[Statement]) -> None:
    """After a rollback nothing that a caller can see tells that the later statements were ever made."""
    gauges = fresh()
    state(gauges, first)
    before, mark = observed(gauges), gauges.checkpoint()
    state(gauges, second)
    gauges.rollback(mark)
    assert observed(gauges) == before


@given(st.lists(any_statements(), max_size=10), st.lists(any_statements(), max_size=10))
def test_after_a_rollback_all_goes_on_as_if_nothing_had_been(first: list[Statement], second: list[Statement]) -> None:
    """The same statements give the same state and the same contradictions the second time."""
    gauges = fresh()
    state(gauges, first)
    mark = gauges.checkpoint()
    contradictions, after = state(gauges, second), observed(gauges)
    gauges.rollback(mark)
    assert state(gauges, second) == contradictions
    assert observed(gauges) == after


@given(st.lists(any_statements(), max_size=8))
def test_nested_rollbacks(statements: list[Statement]) -> None:
    """Checkpoints taken one after another are restored one before another."""
    gauges = fresh()
    history: list[tuple[int, dict[int, object]]] = []
    for cause, statement in enumerate(statements):
        history.append((gauges.checkpoint(), observed(gauges)))
        state(gauges, [lambda g, _, s=statement, c=cause: s(g, c)])
    for mark, seen in reversed(history):
        gauges.rollback(mark)
        assert observed(gauges) == seen


def test_the_identity_is_known() -> None:
    """Variable 0 has s = 1 and σ = 0, and says that it holds by definition."""
    gauges = fresh()
    assert shift(gauges, IDENTITY) == 0.0
    gauges.relate_scales(1, IDENTITY, -2.0, 7)
    with pytest.raises(Contradiction, match="sign") as caught:
        gauges.require_positive(1, 8)
    assert caught.value.obstacle is Obstacle.SIGN
    assert set(caught.value.causes) == {8, NO_CAUSE}


def test_factors_multiply_along_a_chain() -> None:
    """s_1 = 2·s_2, s_2 = −3·s_3 gives s_1 = −6·s_3, whichever becomes the representative."""
    gauges = fresh()
    gauges.relate_scales(1, 2, 2.0, 0)
    gauges.relate_scales(3, 2, -1 / 3, 1)
    (root, first), (other, third) = root_of(gauges, 1), root_of(gauges, 3)
    assert root == other
    assert first / third == pytest.approx(-6.0)


def test_signs_pass_through_factors() -> None:
    """s_1 > 0 and s_2 > 0 cannot hold where s_1 = −s_2; both causes are named."""
    gauges = fresh()
    gauges.require_positive(1, 3)
    gauges.require_positive(2, 4)
    with pytest.raises(Contradiction, match="sign") as caught:
        gauges.relate_scales(1, 2, -1.0, 5)
    assert set(caught.value.causes) == {3, 4}


def test_signs_of_a_class_made_later() -> None:
    """A sign stated for a member of a class holds for all that join it."""
    gauges = fresh()
    gauges.relate_scales(1, 2, -1.0, 0)
    gauges.relate_scales(3, 2, -1.0, 1)
    gauges.require_positive(1, 2)
    gauges.require_positive(3, 3)
    with pytest.raises(Contradiction, match="sign"):
        gauges.require_positive(2, 4)


def test_shift_equations_name_all_who_stated_them() -> None:
    """σ_1 = σ_2, σ_2 = σ_3, σ_1 = 0 and σ_3 = 1 contradict, with all of the first three as causes."""
    gauges = fresh()
    gauges.relate_shifts([(1.0, 1), (-1.0, 2)], 0.0, 10)
    gauges.relate_shifts([(1.0, 2), (-1.0, 3)], 0.0, 11)
    gauges.forbid_shift(1, 12)
    with pytest.raises(Contradiction, match="shift") as caught:
        gauges.relate_shifts([(1.0, 3)], 1.0, 13)
    assert caught.value.obstacle is Obstacle.SHIFT
    assert set(caught.value.causes) == {10, 11, 12}


def test_a_small_coefficient_is_no_pivot() -> None:
    """1e-8·σ_1 + σ_2 = 1 is solved for σ_2."""
    gauges = fresh()
    gauges.relate_shifts([(1e-8, 1), (1.0, 2)], 1.0, 0)
    assert (shift(gauges, 1), shift(gauges, 2)) == (0.0, 1.0)


def test_a_variable_that_cancels_says_nothing() -> None:
    """σ_1 − σ_1 = 0 leaves σ_1 free; σ_1 − σ_1 = 1 contradicts."""
    gauges = fresh()
    gauges.relate_shifts([(1.0, 1), (-1.0, 1)], 0.0, 0)
    gauges.relate_shifts([(1.0, 1)], 5.0, 1)
    assert shift(gauges, 1) == 5.0
    with pytest.raises(Contradiction, match="shift"):
        gauges.relate_shifts([(1.0, 2), (-1.0, 2)], 1.0, 2)


# Many at a time


@st.composite
def vectors(draw: st.DrawFn) -> list[int]:
    """Draw as many variables as the other vectors of a statement have."""
    return draw(st.lists(variables, min_size=4, max_size=4))


@given(st.data())
def test_many_scales_at_a_time_are_the_same_as_one_by_one(data: st.DataObject) -> None:
    """Pairs that meet in one statement give the classes, factors and signs of one pair after another, or contradict."""
    truth, together, apart = data.draw(truths()), fresh(), fresh()
    for cause in range(data.draw(st.integers(1, 4))):
        i, j = data.draw(vectors()), data.draw(vectors())
        ratio = [truth.ratio(*pair) for pair in zip(i, j, strict=True)]
        ratio[0] *= data.draw(st.sampled_from([1.0, 1.0, 1.0, -1.0]))
        refused = refuses(together.relate_scales, [(i, j, ratio, cause)])
        assert refused == refuses(apart.relate_scales, [(*pair, cause) for pair in zip(i, j, ratio, strict=True)])
        signed = [(data.draw(variables), cause)]
        refused = refused or refuses(together.require_positive, signed)
        assert refused or not refuses(apart.require_positive, signed)
        if refused:
            return
    for i in range(COUNT + 1):
        assert sign_of(together, i) == sign_of(apart, i)
        for j in range(COUNT + 1):
            ratios = [ratio_of(gauges, i, j) for gauges in (together, apart)]
            assert ratios[0] == pytest.approx(ratios[1], nan_ok=True)


def sign_of(gauges: Gauges, i: int) -> float:
    """Return the sign that a scale must have, 0 where either will do."""
    root, factor = root_of(gauges, i)
    return float(gauges.signs(np.array(root)) * np.sign(factor))


def ratio_of(gauges: Gauges, i: int, j: int) -> float:
    """Return s_i / s_j, NaN where the two are in different classes."""
    (root_i, factor_i), (root_j, factor_j) = root_of(gauges, i), root_of(gauges, j)
    return factor_i / factor_j if root_i == root_j else math.nan


@given(st.data())
def test_many_shifts_at_a_time_are_the_same_as_one_by_one(data: st.DataObject) -> None:
    """Equations that meet in one statement determine the same shifts, at the same values, or contradict alike."""
    together, apart = fresh(), fresh()
    for cause in range(data.draw(st.integers(1, 4))):
        columns = [(data.draw(factors), data.draw(vectors())) for _ in range(data.draw(st.integers(1, 3)))]
        constants = data.draw(st.lists(st.integers(-2, 2), min_size=4, max_size=4))
        rows = [([(factor, ids[row]) for factor, ids in columns], constants[row], cause) for row in range(4)]
        refused = refuses(together.relate_shifts, [(columns, constants, cause)])
        assert refused == refuses(apart.relate_shifts, rows)
        if refused:
            return
    for i in range(COUNT + 1):
        for value in (shift(apart, i), shift(together, i) + 1.0):
            probe = [([(1.0, i)], value, 9)]
            both = [refuses(copy.deepcopy(gauges).relate_shifts, probe) for gauges in (together, apart)]
            assert both[0] == both[1]


def refuses(state_it: Callable[..., None], statements: Iterable[tuple[object, ...]]) -> bool:
    """Make statements until one contradicts; return whether one does."""
    try:
        for statement in statements:
            state_it(*statement)
    except Contradiction:
        return True
    return False
