"""Linear equations between shifts, eliminated one variable an equation, many equations at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bnfold.folding.contradiction import TOLERANCE, Contradiction, Obstacle
from bnfold.folding.journal import Column, Ids, Journal, are_distinct, distinct, is_first

Array = NDArray[np.float64]

_PIVOT_RATIO = 1e-3
"""A variable is eliminated only if its coefficient is at least this part of the largest: three digits at most are
lost."""


@dataclass(frozen=True)
class Sums:
    """Sums constant + Σ coefficient·σ_i, one a row; their terms are kept row after row, in order.

    Attributes:
        constant: shape (rows,).
        magnitude: the size of what was added up to the constant, shape (rows,).
        causes: who stated what led to it, as number in `_CauseSets`, shape (rows,).
        row: the row that each term belongs to, ascending, shape (terms,).
        variable: shape (terms,).
        coefficient: shape (terms,).
    """

    constant: Array
    magnitude: Array
    causes: Ids
    row: Ids
    variable: Ids
    coefficient: Array

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.constant)

    def starts(self) -> Ids:
        """Return where each row's terms start, and where the last one's end, shape (rows + 1,)."""
        return np.searchsorted(self.row, np.arange(len(self) + 1))

    def select(self, chosen: NDArray[np.bool_]) -> "Sums":
        """Return the rows of a mask."""
        of_chosen = chosen[self.row]
        number = np.cumsum(chosen) - 1
        return Sums(
            self.constant[chosen],
            self.magnitude[chosen],
            self.causes[chosen],
            number[self.row[of_chosen]],
            self.variable[of_chosen],
            self.coefficient[of_chosen],
        )

    def added_up(self) -> "Sums":
        """Return the same with one term a variable, where it stood first.

        What cancels but for its roundings is 0 and goes, so that no coefficient is made of noise.
        """
        if not self.row.size:
            return self
        key = self.row * (int(self.variable.max()) + 1) + self.variable
        if are_distinct(key):
            stays = self.coefficient != 0.0
            return self if stays.all() else self._with_terms(np.flatnonzero(stays), self.coefficient)
        _, first, where = np.unique(key, return_index=True, return_inverse=True)
        total, size = np.bincount(where, self.coefficient), np.bincount(where, np.abs(self.coefficient))
        order = np.argsort(first)
        order = order[(np.abs(total) > TOLERANCE * size)[order]]
        coefficient = np.empty(len(key))
        coefficient[first] = total
        return self._with_terms(first[order], coefficient)

    def without(self, terms: Ids) -> "Sums":
        """Return the same without some terms, named by their numbers."""
        stays = np.ones(len(self.row), dtype=np.bool_)
        stays[terms] = False
        return self._with_terms(np.flatnonzero(stays), self.coefficient)

    def _with_terms(self, terms: Ids, coefficient: Array) -> "Sums":
        row, variable = self.row[terms], self.variable[terms]
        return replace(self, row=row, variable=variable, coefficient=coefficient[terms])


class ShiftEquations:
    """Equations Σ c_i·σ_i = d, each solved for one variable over others; variables that none is solved for are free."""

    def __init__(self, journal: Journal) -> None:
        self._eliminated = journal.column(np.bool_)
        self._constant = journal.column(np.float64)
        self._magnitude = journal.column(np.float64)
        self._causes = journal.column(np.int64)
        self._start = journal.column(np.int64)  # of a variable's terms, in the two columns of terms
        self._length = journal.column(np.int64)
        self._term_variable = journal.column(np.int64)
        self._term_coefficient = journal.column(np.float64)
        self._cause_sets = _CauseSets()

    def add(self, count: int) -> None:
        """Add ``count`` variables about which nothing is known."""
        self._eliminated.append(np.zeros(count, dtype=np.bool_))
        for column in (self._constant, self._magnitude, self._causes, self._start, self._length):
            column.append(np.zeros(count))

    def ground(self, i: int) -> None:
        """State σ_i = 0 by definition."""
        self._eliminated.put(np.array([i]), True)

    def relate(self, terms: Sequence[tuple[Array, Ids]], constant: Array, cause: Ids) -> None:
        """State Σ coefficient·σ_i = constant for ``terms`` of (coefficient, i), entry by entry after broadcasting.

        One variable an equation is eliminated, the first whose coefficient is not small: put those first that should
        take the value while the others stay free.

        Raises:
            Contradiction: an equation is over-determined and does not hold.
        """
        sums, stated = _zero_sums(terms, constant, self._cause_sets.of(cause))
        while len(sums):
            self._resolve(sums.variable)
            sums = self._substituted(sums)
            starts = sums.starts()
            empty = starts[1:] == starts[:-1]
            wrong = empty & (np.abs(sums.constant) > TOLERANCE * sums.magnitude)
            if wrong.any():
                raise Contradiction(Obstacle.SHIFT, self._cause_sets[int(sums.causes[wrong.argmax()])])
            sums, stated = sums.select(~empty), stated[~empty]
            if len(sums):
                pivots = _pivots(sums)
                self._eliminate(sums, pivots, stated)
                sums, stated = sums.select(pivots < 0), stated[pivots < 0]

    def forbid(self, ids: Ids, cause: int) -> None:
        """State σ_i = 0 for ``ids``, no two of them the same."""
        known: NDArray[np.bool_] = self._eliminated[ids]
        new = ids[~known]
        zero, none = np.zeros(len(new)), np.empty(0, dtype=np.int64)
        causes = np.full(len(new), self._cause_sets.of(np.asarray(cause)))
        self._solve(new, Sums(zero, zero, causes, row=none, variable=none, coefficient=np.empty(0)))
        if known.any():
            self.relate([(np.ones(1), ids[known])], np.zeros(1), np.asarray(cause))

    def are_known(self, ids: Ids) -> NDArray[np.bool_]:
        """Return which of σ are numbers, in the shape of ``ids``."""
        self._resolve(ids.ravel())
        known: NDArray[np.bool_] = self._eliminated[ids] & (self._length[ids] == 0)
        return known

    def values(self, ids: Ids) -> Array:
        """Return σ with every variable that is still free at 0, in the shape of ``ids``."""
        self._resolve(ids.ravel())
        return np.where(self._eliminated[ids], self._constant[ids], 0.0)

    def _substituted(self, sums: Sums) -> Sums:
        """Return the same sums with what is eliminated replaced by its solution, as it is."""
        known: NDArray[np.bool_] = self._eliminated[sums.variable]
        if not known.any():
            return sums
        row, variable, coefficient = sums.row[known], sums.variable[known], sums.coefficient[known]
        constant: Array = self._constant[variable]
        magnitude: Array = self._magnitude[variable]
        term, inner, factor = self._terms(variable)
        # Terms come in the order of the rows, and within a row where the variable stood that they replace.
        position = np.concatenate([np.flatnonzero(~known), np.flatnonzero(known)[term]])
        order = np.argsort(position, kind="stable")
        rows = len(sums)
        return Sums(
            constant=sums.constant + np.bincount(row, coefficient * constant, rows),
            magnitude=sums.magnitude + np.bincount(row, np.abs(coefficient) * magnitude, rows),
            causes=self._cause_sets.gathered(sums.causes, row, self._causes[variable]),
            row=np.concatenate([sums.row[~known], row[term]])[order],
            variable=np.concatenate([sums.variable[~known], inner])[order],
            coefficient=np.concatenate([sums.coefficient[~known], coefficient[term] * factor])[order],
        ).added_up()

    def _resolve(self, ids: Ids) -> None:
        """Let the solutions of ``ids`` be over free variables; remember them, since later equations ask again.

        Chains of eliminations can be as long as the graph is deep: level by level, their ends first.
        """
        levels: list[Ids] = []
        while (stale := self._stale(ids)).size:
            levels.append(stale)
            ids = self._terms(stale)[1]
        for level in reversed(levels):
            stale = self._stale(level)
            if stale.size:
                self._solve(stale, self._substituted(self._solutions(stale)))

    def _solutions(self, ids: Ids) -> Sums:
        return Sums(self._constant[ids], self._magnitude[ids], self._causes[ids], *self._terms(ids))

    def _stale(self, ids: Ids) -> Ids:
        """Return which of ``ids`` are solved for over variables that were eliminated since, each once."""
        ids = ids[self._eliminated[ids] & (self._length[ids] > 0)]
        if not ids.size:
            return ids
        ids = distinct(ids)
        term, variable, _ = self._terms(ids)
        stale = np.zeros(len(ids), dtype=np.bool_)
        stale[term[self._eliminated[variable]]] = True
        return ids[stale]

    def _terms(self, ids: Ids) -> tuple[Ids, Ids, Array]:
        """Return the terms of the solutions of ``ids``: the index into ids, the variable, the coefficient."""
        length: Ids = self._length[ids]
        index = np.repeat(np.arange(len(ids)), length)
        where = np.repeat(self._start[ids] - (np.cumsum(length) - length), length) + np.arange(len(index))
        return index, self._term_variable[where], self._term_coefficient[where]

    def _eliminate(self, sums: Sums, pivots: Ids, stated: Ids) -> None:
        """Solve rows for the variables of their pivots, numbers of terms, −1 where a row waits.

        ``stated`` is who stated each row, as number in `_CauseSets`.
        """
        solved = pivots >= 0
        pivot = pivots[solved]
        weight = sums.coefficient[pivot]
        rows = sums.without(pivot).select(solved)
        solution = Sums(
            constant=-rows.constant / weight,
            magnitude=rows.magnitude / np.abs(weight),
            causes=self._cause_sets.joined(stated[solved], rows.causes),
            row=rows.row,
            variable=rows.variable,
            coefficient=-rows.coefficient / weight[rows.row],
        )
        self._solve(sums.variable[pivot], solution)

    def _solve(self, ids: Ids, solution: Sums) -> None:
        """Let each of ``ids`` be its row of ``solution``."""
        starts = solution.starts()
        end = len(self._term_variable)
        self._term_variable.append(solution.variable)
        self._term_coefficient.append(solution.coefficient)
        changes: list[tuple[Column, NDArray[np.generic]]] = [
            (self._eliminated, np.ones(len(ids), dtype=np.bool_)),
            (self._constant, solution.constant),
            (self._magnitude, solution.magnitude),
            (self._causes, solution.causes),
            (self._start, end + starts[:-1]),
            (self._length, np.diff(starts)),
        ]
        for column, values in changes:
            column.put(ids, values)


def _zero_sums(terms: Sequence[tuple[Array, Ids]], constant: Array, stated: Ids) -> tuple[Sums, Ids]:
    """Return Σ coefficient·σ_i − constant, a row an entry of what all arrays broadcast to, and who stated each row."""
    arrays = np.broadcast_arrays(constant, stated, *(array for term in terms for array in term))
    constants, by, *columns = (array.ravel() for array in arrays)
    rows = len(constants)
    sums = Sums(
        constant=-constants,
        magnitude=np.abs(constants),
        causes=np.zeros(rows, dtype=np.int64),
        row=np.repeat(np.arange(rows), len(terms)),
        variable=np.stack(columns[1::2], axis=1).ravel(),
        coefficient=np.stack(columns[::2], axis=1).ravel(),
    )
    return sums.added_up(), by


def _pivots(sums: Sums) -> Ids:
    """Return for every row the number of the term to eliminate, −1 for rows that have to wait for others.

    Rows are solved at once if no solution can refer, by way of others, to the variable that it is for. That is so for
    rows of which no variable stands in an earlier row, and for rows with a variable that stands in no other.
    """
    starts = sums.starts()[:-1]
    size = np.abs(sums.coefficient)
    large = np.flatnonzero(size >= _PIVOT_RATIO * np.maximum.reduceat(size, starts)[sums.row])
    first = large[is_first(sums.row[large])]
    if are_distinct(sums.variable):
        return first
    _, where, occurrences = np.unique(sums.variable, return_inverse=True, return_counts=True)
    earliest = np.full(len(occurrences), len(sums))
    np.minimum.at(earliest, where, sums.row)
    pivots = np.full(len(sums), -1)
    lone = large[occurrences[where[large]] == 1]
    lone = lone[is_first(sums.row[lone])]
    pivots[sums.row[lone]] = lone
    disjoint = np.logical_and.reduceat(earliest[where] == sums.row, starts)
    pivots[disjoint] = first[disjoint]
    return pivots


class _CauseSets:
    """Sets of causes by number, in the order in which they came together.

    A union is remembered as the two sets that it is of: along a residual stream they grow with the depth, and hardly
    any is ever asked for.
    """

    def __init__(self) -> None:
        self._sets: list[int | tuple[int, int]] = [(0, 0)]  # one cause, or the numbers of two sets; the first is empty
        self._numbers: dict[int, int] = {}
        self._unions: dict[tuple[int, int], int] = {}

    def __getitem__(self, number: int) -> tuple[int, ...]:
        """Return a set."""
        causes: list[int] = []
        pending, seen = [number], {0}
        while pending:
            number = pending.pop()
            if number in seen:
                continue
            seen.add(number)
            found = self._sets[number]
            if isinstance(found, int):
                causes.append(found)
            else:
                pending += reversed(found)
        return tuple(causes)

    def of(self, causes: Ids) -> Ids:
        """Return the sets of one cause each, in the shape of ``causes``."""
        different, where = np.unique(causes, return_inverse=True)
        return np.array([self._single(cause) for cause in different.tolist()], dtype=np.int64)[where]

    def joined(self, first: Ids, second: Ids) -> Ids:
        """Return the unions, pair by pair."""
        if first.size and (first == first[0]).all() and (second == second[0]).all():
            return np.full(first.shape, self._union(int(first[0]), int(second[0])))
        base = len(self._sets)
        pairs, where = np.unique(first * base + second, return_inverse=True)
        return np.array([self._union(*divmod(pair, base)) for pair in pairs.tolist()], dtype=np.int64)[where]

    def gathered(self, sets: Ids, row: Ids, more: Ids) -> Ids:
        """Return ``sets`` with each of ``more`` joined to the one of its row; rows ascend."""
        sets = sets.copy()
        while row.size:
            first = is_first(row)
            rows = row[first]
            sets[rows] = self.joined(sets[rows], more[first])
            row, more = row[~first], more[~first]
        return sets

    def _single(self, cause: int) -> int:
        if cause not in self._numbers:
            self._numbers[cause] = len(self._sets)
            self._sets.append(cause)
        return self._numbers[cause]

    def _union(self, first: int, second: int) -> int:
        if first == second or not second:
            return first
        if not first:
            return second
        if (first, second) not in self._unions:
            self._unions[first, second] = len(self._sets)
            self._sets.append((first, second))
        return self._unions[first, second]
