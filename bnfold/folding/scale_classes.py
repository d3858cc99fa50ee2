"""Which scales hang together: a union-find whose edges carry factors, many edges at a time."""

import numpy as np
from numpy.typing import NDArray

from bnfold.folding.contradiction import NO_CAUSE, TOLERANCE, Contradiction, Obstacle
from bnfold.folding.journal import Ids, Journal

Array = NDArray[np.float64]


class ScaleClasses:
    """s_i = f·s_r for every variable i, its class's representative r, and a factor f ≠ 0; classes may have a sign."""

    def __init__(self, journal: Journal) -> None:
        self._parent = journal.column(np.int64)
        self._factor = journal.column(np.float64)  # s_i = factor_i · s_parent
        self._cause = journal.column(np.int64)  # of the edge to the parent
        self._size = journal.column(np.int64)
        self._sign = journal.column(np.int8)  # that a representative's scale must have; 0 where either will do
        self._sign_cause = journal.column(np.int64)

    def __len__(self) -> int:
        """Return the number of variables."""
        return len(self._parent)

    def add(self, count: int) -> Ids:
        """Return ``count`` new variables, each a class of its own, shape (count,)."""
        ids = np.arange(len(self), len(self) + count, dtype=np.int64)
        self._parent.append(ids)
        self._factor.append(np.ones(count))
        self._cause.append(np.full(count, NO_CAUSE))
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

    def relate(self, i: Ids, j: Ids, factor: Array, cause: int) -> None:
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
                causes = self._path_causes(int(i[first])) + self._path_causes(int(j[first]))
                raise Contradiction(Obstacle.SCALE, causes)
            i, j, factor = i[apart], j[apart], factor[apart]
            if not i.size:
                return
            root_i, root_j = root_i[apart], root_j[apart]
            self._join(root_i, root_j, (expected / factor_i)[apart], cause)

    def require_positive(self, ids: Ids, cause: int) -> None:
        """State s > 0.

        Raises:
            Contradiction: a scale is known, or required elsewhere, to be negative.
        """
        roots, factors = self.roots(ids.ravel())
        self._require_signs(roots, np.sign(factors), np.full(roots.shape, cause))

    def _join(self, i: Ids, j: Ids, ratio: Array, cause: int) -> None:
        """Join classes by their representatives, s_i = ratio·s_j, as many as can be at once, one at least."""
        _, first = np.unique(i * len(self) + j, return_index=True)
        i, j, ratio = i[first], j[first], ratio[first]
        _, where, occurrences = np.unique(np.stack([i, j]), return_inverse=True, return_counts=True)
        lone_i, lone_j = occurrences[where.reshape(2, -1)] == 1
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
        self._cause.put(child, cause)
        grown, where = np.unique(root, return_inverse=True)
        added = np.bincount(where, self._size[child]).astype(np.int64)
        self._size.put(grown, self._size[grown] + added)

    def _require_signs(self, roots: Ids, signs: NDArray[np.floating], causes: Ids) -> None:
        """Give representatives the signs that they must have."""
        unsigned = self._sign[roots] == 0
        new, first = np.unique(roots[unsigned], return_index=True)
        self._sign.put(new, signs[unsigned][first])
        self._sign_cause.put(new, causes[unsigned][first])
        wrong = self._sign[roots] != signs
        if wrong.any():
            at = int(wrong.argmax())
            raise Contradiction(Obstacle.SIGN, (int(causes[at]), int(self._sign_cause[int(roots[at])])))

    def _path_causes(self, i: int) -> tuple[int, ...]:
        causes: list[int] = []
        while (parent := int(self._parent[i])) != i:
            causes.append(int(self._cause[i]))
            i = parent
        return tuple(causes)
