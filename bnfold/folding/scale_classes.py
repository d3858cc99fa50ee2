"""Which scales hang together: a union-find whose edges carry factors, many edges at a time."""

import numpy as np
from numpy.typing import NDArray

from bnfold.folding.contradiction import NO_CAUSE, TOLERANCE, Contradiction, Obstacle
from bnfold.folding.journal import Ids, Journal, are_distinct

Array = NDArray[np.float64]


class ScaleClasses:
    """s_i = f·s_r for every variable i, its class's representative r, and a factor f ≠ 0; classes may have a sign."""

    def __init__(self, journal: Journal) -> None:
        self._parent = journal.column(np.int64)
        self._factor = journal.column(np.float64)  # s_i = factor_i · s_parent
        self._join_number = journal.column(np.int64)  # of what joined the class of i to the parent's
        self._size = journal.column(np.int64)
        self._sign = journal.column(np.int8)  # that a representative's scale must have; 0 where either will do
        self._sign_cause = journal.column(np.int64)
        # What joined two classes, by number: a statement about a variable of each, the one that became part first.
        self._joined, self._to, self._cause = (journal.column(np.int64) for _ in range(3))

    def __len__(self) -> int:
        """Return the number of variables."""
        return len(self._parent)

    def add(self, count: int) -> Ids:
        """Return ``count`` new variables, each a class of its own, shape (count,)."""
        ids = np.arange(len(self), len(self) + count, dtype=np.int64)
        self._parent.append(ids)
        self._factor.append(np.ones(count))
        self._join_number.append(np.full(count, -1))
        self._size.append(np.ones(count, dtype=np.int64))
        self._sign.append(np.zeros(count, dtype=np.int8))
        self._sign_cause.append(np.full(count, NO_CAUSE))
        return ids

    def ground(self, i: int) -> None:
        """State s_i > 0 by definition."""
        self._sign.put(np.array([i]), 1)

    def roots(self, ids: Ids) -> tuple[Ids, Array]:
        """Return the representatives r of the classes of ``ids``, and f with s_i = f·s_r, both in the shape of ids."""
        factor = np.ones(ids.shape)
        while True:
            parent: Ids = self._parent[ids]
            if np.array_equal(parent, ids):
                return ids, factor
            factor *= self._factor[ids]
            ids = parent

    def signs(self, roots: Ids) -> NDArray[np.int8]:
        """Return the signs that the scales of representatives must have, 0 where either will do."""
        return self._sign[roots]

    def relate(self, i: Ids, j: Ids, factor: Array, cause: Ids) -> None:
        """State s_i = factor·s_j, pair by pair, all of shape (pairs,).

        A pair can be joined at once with all others if one of its two classes is in no other pair; it becomes part of
        the other class. What remains is looked at again, with the classes as they are then.

        Raises:
            Contradiction: two are in one class with another factor, or of signs that do not fit.
        """
        while i.size:
            (root_i, factor_i), (root_j, factor_j) = self.roots(i), self.roots(j)
            apart, expected = root_i != root_j, factor * factor_j
            wrong = ~apart & (np.abs(factor_i - expected) > TOLERANCE * np.abs(expected))
            if wrong.any():
                first = int(wrong.argmax())
                raise Contradiction(Obstacle.SCALE, self._causes_between(int(i[first]), int(j[first])))
            i, j, factor, cause = i[apart], j[apart], factor[apart], cause[apart]
            if not i.size:
                return
            self._join((i, j), (root_i[apart], root_j[apart]), (expected / factor_i)[apart], cause)

    def require_positive(self, ids: Ids, cause: int) -> None:
        """State s > 0.

        Raises:
            Contradiction: a scale is known, or required elsewhere, to be negative.
        """
        roots, factors = self.roots(ids.ravel())
        self._require_signs(roots, np.sign(factors), np.full(roots.shape, cause))

    def _join(self, stated: tuple[Ids, Ids], roots: tuple[Ids, Ids], ratio: Array, cause: Ids) -> None:
        """Join the classes of what is stated, s_i = ratio·s_j for their roots; as many at once as can be."""
        i, j = roots
        of_i, of_j = stated
        pairs = i * len(self) + j
        if not are_distinct(pairs):
            _, first = np.unique(pairs, return_index=True)
            i, j, ratio, cause, of_i, of_j = (each[first] for each in (i, j, ratio, cause, of_i, of_j))
        lone_i, lone_j = _are_lone(np.stack([i, j]))
        ready = lone_i | lone_j
        if not ready.any():
            ready[0] = lone_i[0] = lone_j[0] = True
        moves_i = lone_i & (~lone_j | (self._size[i] <= self._size[j]))
        child, root = np.where(moves_i, i, j)[ready], np.where(moves_i, j, i)[ready]
        factor = np.where(moves_i, ratio, 1.0 / ratio)[ready]
        signed = self._sign[child] != 0
        if signed.any():
            of = child[signed]
            self._require_signs(root[signed], self._sign[of] * np.sign(factor[signed]), self._sign_cause[of])
        self._parent.put(child, root)
        self._factor.put(child, factor)
        self._join_number.put(child, len(self._cause) + np.arange(len(child)))
        self._joined.append(np.where(moves_i, of_i, of_j)[ready])
        self._to.append(np.where(moves_i, of_j, of_i)[ready])
        self._cause.append(cause[ready])
        grown, added = root, self._size[child]
        if not are_distinct(root):
            grown, where = np.unique(root, return_inverse=True)
            added = np.bincount(where, added).astype(np.int64)
        self._size.put(grown, self._size[grown] + added)

    def _require_signs(self, roots: Ids, signs: NDArray[np.floating], causes: Ids) -> None:
        """Give representatives the signs that they must have."""
        unsigned = self._sign[roots] == 0
        if unsigned.any():
            new, first = np.unique(roots[unsigned], return_index=True)
            self._sign.put(new, signs[unsigned][first])
            self._sign_cause.put(new, causes[unsigned][first])
        wrong = self._sign[roots] != signs
        if wrong.any():
            at = int(wrong.argmax())
            raise Contradiction(Obstacle.SIGN, (int(causes[at]), int(self._sign_cause[int(roots[at])])))

    def _causes_between(self, i: int, j: int) -> list[int]:
        """Return what led from i to j: the causes of the one chain of statements that joined their classes, in order.

        Of all that joined what the two have come from, the last is a link of the chain; what leads to it from either
        side was there before (R. Nieuwenhuis, A. Oliveras, "Proof-producing congruence closure", 2005).
        """
        causes: list[int] = []
        pending: list[int | tuple[int, int]] = [(i, j)]
        while pending:
            link = pending.pop()
            if isinstance(link, int):
                causes.append(link)
                continue
            first, second = link
            if first == second:
                continue
            from_first, from_second = self._ancestry(first), self._ancestry(second)
            common = set(from_first) & set(from_second)
            child = max((set(from_first) | set(from_second)) - common, key=lambda i: int(self._join_number[i]))
            number = int(self._join_number[child])
            ends = int(self._joined[number]), int(self._to[number])
            near, far = ends if child in from_first else ends[::-1]
            pending += [(far, second), int(self._cause[number]), (first, near)]
        return causes

    def _ancestry(self, i: int) -> list[int]:
        """Return i, its parent, and so on to the root."""
        found = [i]
        while (parent := int(self._parent[i])) != i:
            found.append(i := parent)
        return found


def _are_lone(numbers: Ids) -> NDArray[np.bool_]:
    """Return which numbers are there once, in their shape."""
    if are_distinct(numbers.ravel()):
        return np.ones(numbers.shape, dtype=np.bool_)
    _, where, occurrences = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray(occurrences[where.reshape(numbers.shape)] == 1)
