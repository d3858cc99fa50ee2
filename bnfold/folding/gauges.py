"""The algebra of gauges: which scales and shifts can hold at once.

Let v be a value of the original graph. The folded graph carries ṽ = s·(v + σ) in its place: s ≠ 0 is the scale, σ the
shift, one of each per gauge variable. Scales are related by factors, s_i = f·s_j, shifts by linear equations,
Σ c_i·σ_i = d. Everything that was ever stated can be taken back to a checkpoint, so that the removal of a normalization
is tried channel by channel and undone whole when one channel fails.
"""

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
"""Gauge variables, in the shape of what they label."""

IDENTITY = 0
"""The gauge variable that is known: s = 1, σ = 0."""

NO_CAUSE = -1
"""The cause of what holds by definition: that `IDENTITY` is (1, 0)."""

TOLERANCE = 1e-12
"""Relative disagreement at which two float64 results count as the same: some thousand roundings of 1.1e-16 each."""

_PIVOT_RATIO = 1e-3
"""A variable is eliminated only if its coefficient is at least this part of the largest: three digits at most are
lost."""


class Obstacle(StrEnum):
    """What a statement can contradict."""

    SCALE = "scale"
    SIGN = "sign"
    SHIFT = "shift"


class Contradiction(Exception):
    """A statement that cannot hold together with what was stated before.

    Attributes:
        obstacle: which part of the gauge is over-determined.
        causes: who stated what stands in the way, each once; as passed to `Gauges`.
    """

    def __init__(self, obstacle: Obstacle, causes: Iterable[int]) -> None:
        super().__init__(obstacle)
        self.obstacle = obstacle
        self.causes = tuple(dict.fromkeys(causes))


class _Expression(NamedTuple):
    """σ = constant + Σ coefficient·σ_j, who stated it, and the size of what was added up to the constant."""

    constant: float
    terms: dict[int, float]
    causes: tuple[int, ...]
    magnitude: float = 0.0


def _distinct(causes: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(causes)) if len(causes) > 1 else tuple(causes)


def _sum(values: Sequence[float]) -> float:
    """Return the sum; 0 where the summands cancel but for their roundings, so that no coefficient is made of noise."""
    if len(values) == 1:
        return values[0]
    total = math.fsum(values)
    return total if abs(total) > TOLERANCE * math.fsum(map(abs, values)) else 0.0


class _Join(NamedTuple):
    """Undo: a class became part of another."""

    child: int
    root: int


class _Entry(NamedTuple):
    """Undo: what an entry of a table was, None where there was none."""

    table: dict[int, Any]
    key: int
    old: tuple[Any, ...] | None


class Gauges:
    """Scale classes (a union-find whose edges carry factors) and shift equations, with an undo log.

    A cause is an integer that the caller chooses; it comes back in `Contradiction`.
    """

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._factor: list[float] = []  # s_i = factor_i · s_parent
        self._edge_cause: list[int] = []
        self._size: list[int] = []
        self._sign: dict[int, tuple[int, int]] = {}  # root → sign that its scale must have, and the cause
        self._eliminated: dict[int, _Expression] = {}
        self._undo: list[_Join | _Entry] = []
        (identity,) = self.fresh(1).tolist()
        assert identity == IDENTITY
        self._sign[IDENTITY] = (1, NO_CAUSE)
        self._eliminated[IDENTITY] = _Expression(0.0, {}, ())

    def __len__(self) -> int:
        """Return the number of gauge variables."""
        return len(self._parent)

    def fresh(self, count: int) -> Ids:
        """Return ``count`` new variables about which nothing is known, shape (count,)."""
        start = len(self._parent)
        ids = range(start, start + count)
        self._parent.extend(ids)
        self._factor.extend([1.0] * count)
        self._edge_cause.extend([NO_CAUSE] * count)
        self._size.extend([1] * count)
        return np.arange(start, start + count, dtype=np.int64)

    # Undo

    def checkpoint(self) -> int:
        """Return a mark for `rollback`."""
        return len(self._undo)

    def rollback(self, mark: int) -> None:
        """Take back every statement made since `checkpoint` returned ``mark``."""
        while len(self._undo) > mark:
            change = self._undo.pop()
            if isinstance(change, _Join):
                self._detach(change)
            elif change.old is None:
                del change.table[change.key]
            else:
                change.table[change.key] = change.old

    # Scales

    def root(self, i: int) -> tuple[int, float]:
        """Return the representative r of i's class and f with s_i = f·s_r."""
        factor = 1.0
        while (parent := self._parent[i]) != i:
            factor *= self._factor[i]
            i = parent
        return i, factor

    def relate_scales(self, i: int, j: int, factor: float, cause: int) -> None:
        """State s_i = factor·s_j.

        Raises:
            Contradiction: the two are in one class with another factor, or of signs that do not fit.
        """
        root_i, factor_i = self.root(i)
        root_j, factor_j = self.root(j)
        if root_i == root_j:
            if not math.isclose(factor_i, factor * factor_j, rel_tol=TOLERANCE):
                raise Contradiction(Obstacle.SCALE, self._path_causes(i) + self._path_causes(j))
            return
        if self._size[root_i] > self._size[root_j]:
            self._join(root_j, root_i, factor_i / (factor * factor_j), cause)
        else:
            self._join(root_i, root_j, factor * factor_j / factor_i, cause)

    def require_positive(self, i: int, cause: int) -> None:
        """State s_i > 0.

        Raises:
            Contradiction: the scale is known, or required elsewhere, to be negative.
        """
        root, factor = self.root(i)
        self._require_sign(root, 1 if factor > 0 else -1, cause)

    def sign(self, root: int) -> int | None:
        """Return the sign that the scale of a class's representative must have, None where either will do."""
        return self._sign[root][0] if root in self._sign else None

    def know_scale(self, i: int, cause: int) -> None:
        """State s_i = 1."""
        self.relate_scales(i, IDENTITY, 1.0, cause)

    def _join(self, child: int, root: int, factor: float, cause: int) -> None:
        """Make ``child`` a member of ``root``'s class, s_child = factor·s_root."""
        if child in self._sign:
            sign, sign_cause = self._sign[child]
            self._require_sign(root, sign if factor > 0 else -sign, sign_cause)
        self._parent[child], self._factor[child], self._edge_cause[child] = root, factor, cause
        self._size[root] += self._size[child]
        self._undo.append(_Join(child, root))

    def _detach(self, join: _Join) -> None:
        child, root = join
        self._parent[child], self._factor[child], self._edge_cause[child] = child, 1.0, NO_CAUSE
        self._size[root] -= self._size[child]

    def _require_sign(self, root: int, sign: int, cause: int) -> None:
        if root not in self._sign:
            self._put(self._sign, root, (sign, cause))
        elif self._sign[root][0] != sign:
            raise Contradiction(Obstacle.SIGN, (cause, self._sign[root][1]))

    def _path_causes(self, i: int) -> tuple[int, ...]:
        causes: list[int] = []
        while self._parent[i] != i:
            causes.append(self._edge_cause[i])
            i = self._parent[i]
        return tuple(causes)

    # Shifts

    def relate_shifts(self, terms: Iterable[tuple[float, int]], constant: float, cause: int) -> None:
        """State Σ coefficient·σ_i = constant for ``terms`` of (coefficient, i).

        One variable is eliminated, the first whose coefficient is not small: put those first that should take the value
        while the others stay free.

        Raises:
            Contradiction: the equation is over-determined and does not hold.
        """
        coefficients: dict[int, list[float]] = {}
        for coefficient, i in terms:
            coefficients.setdefault(i, []).append(coefficient)
        total = self._substituted(_Expression(0.0, {i: _sum(values) for i, values in coefficients.items()}, ()))
        rest, magnitude = constant - total.constant, abs(constant) + total.magnitude
        if not total.terms:
            if abs(rest) > TOLERANCE * magnitude:
                raise Contradiction(Obstacle.SHIFT, total.causes)
            return
        enough = _PIVOT_RATIO * max(map(abs, total.terms.values()))
        pivot = next(j for j, value in total.terms.items() if abs(value) >= enough)
        weight = total.terms.pop(pivot)
        solution = {j: -value / weight for j, value in total.terms.items()}
        causes = _distinct((cause, *total.causes))
        self._put(self._eliminated, pivot, _Expression(rest / weight, solution, causes, magnitude / abs(weight)))

    def forbid_shift(self, i: int, cause: int) -> None:
        """State σ_i = 0."""
        if i in self._eliminated:
            self.relate_shifts([(1.0, i)], 0.0, cause)
        else:
            self._put(self._eliminated, i, _Expression(0.0, {}, (cause,)))

    def shift(self, i: int) -> float:
        """Return σ_i with every variable that is still free at 0."""
        return self._resolve(i).constant

    def _resolve(self, i: int) -> _Expression:
        """Return σ_i over variables not yet eliminated; remember it, since later equations ask again.

        Chains of eliminations can be as long as the graph is deep: a stack of our own resolves their ends first.
        """
        stack = [i]
        while stack:
            expression = self._eliminated.get(stack[-1])
            if expression is None or self._eliminated.keys().isdisjoint(expression.terms):
                stack.pop()
                continue
            pending = [j for j in expression.terms if self._is_unresolved(j)]
            if pending:
                stack += pending
            else:
                self._put(self._eliminated, stack.pop(), self._substituted(expression))
        return self._eliminated.get(i, _Expression(0.0, {i: 1.0}, ()))

    def _is_unresolved(self, i: int) -> bool:
        expression = self._eliminated.get(i)
        return expression is not None and not self._eliminated.keys().isdisjoint(expression.terms)

    def _substituted(self, expression: _Expression) -> _Expression:
        """Return a new expression, over variables that are not yet eliminated."""
        constant, causes, magnitude = expression.constant, list(expression.causes), abs(expression.constant)
        parts: dict[int, list[float]] = {}
        for i, coefficient in expression.terms.items():
            if i not in self._eliminated:
                parts.setdefault(i, []).append(coefficient)
                continue
            inner = self._resolve(i)
            constant += coefficient * inner.constant
            magnitude += abs(coefficient) * inner.magnitude
            causes += inner.causes
            for j, value in inner.terms.items():
                parts.setdefault(j, []).append(coefficient * value)
        terms = {j: total for j, values in parts.items() if (total := _sum(values)) != 0.0}
        return _Expression(constant, terms, _distinct(causes), magnitude)

    def _put(self, table: dict[int, Any], key: int, value: tuple[Any, ...]) -> None:
        """Set an entry and remember what was there."""
        self._undo.append(_Entry(table, key, table.get(key)))
        table[key] = value
