"""Columns of numbers that grow, change many entries at a time, and can be taken back to an earlier state."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Ids = NDArray[np.int64]
"""Gauge variables, in the shape of what they label."""


def is_ascending(ids: Ids) -> bool:
    """Whether every number is larger than the one before it, as among variables that came fresh together."""
    return bool((ids[1:] > ids[:-1]).all())


def distinct(*ids: Ids) -> Ids:
    """Return each number once, in order, shape (count,); by sorting, which is faster than np.unique by far."""
    numbers = np.concatenate([part.ravel() for part in ids])
    if is_ascending(numbers):
        return numbers
    numbers.sort()
    return numbers[is_first(numbers)]


def is_first(numbers: Ids) -> NDArray[np.bool_]:
    """Return which numbers differ from the one before; of sorted ones, the first of its like each."""
    first = np.ones(len(numbers), dtype=np.bool_)
    first[1:] = numbers[1:] != numbers[:-1]
    return first


def are_distinct(numbers: Ids) -> bool:
    """Whether no number is there twice."""
    return is_ascending(numbers) or is_ascending(np.sort(numbers))


class Column:
    """One number a variable. Entries change through `put` alone, which remembers what was there."""

    def __init__(self, journal: "Journal", dtype: DTypeLike) -> None:
        self._journal = journal
        self._storage = np.zeros(16, dtype)
        self._count = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._count

    def __getitem__(self, ids: Ids | int) -> Any:
        """Return one entry, or a copy of some, in the shape of ``ids``."""
        return self._storage[ids]

    def append(self, values: NDArray[Any]) -> None:
        """Add entries at the end; these stay when others are taken back."""
        count = self._count + len(values)
        if count > len(self._storage):
            self._storage = np.resize(self._storage, max(count, 2 * len(self._storage)))
        self._storage[self._count : count] = values
        self._count = count

    def put(self, ids: Ids, values: NDArray[Any] | complex) -> None:
        """Set entries, no two of them the same."""
        self._journal.record(self, ids, self._storage[ids])
        self._storage[ids] = values

    def restore(self, ids: Ids, values: NDArray[Any]) -> None:
        """Set entries to what they were; the journal calls this."""
        self._storage[ids] = values


class Journal:
    """The changes of all columns that were made with it, in order."""

    def __init__(self) -> None:
        self._changes: list[tuple[Column, Ids, NDArray[Any]]] = []

    def column(self, dtype: DTypeLike) -> Column:
        """Return a new, empty column."""
        return Column(self, dtype)

    def record(self, column: Column, ids: Ids, old: NDArray[Any]) -> None:
        """Remember what entries were before they change."""
        self._changes.append((column, ids, old))

    def checkpoint(self) -> int:
        """Return a mark for `rollback`."""
        return len(self._changes)

    def rollback(self, mark: int) -> None:
        """Take back every change made since `checkpoint` returned ``mark``."""
        while len(self._changes) > mark:
            column, ids, old = self._changes.pop()
            column.restore(ids, old)
