"""The algebra of gauges: which scales and shifts can hold at once.

Let v be a value of the original graph. The folded graph carries ṽ = s·(v + σ) in its place: s ≠ 0 is the scale, σ the
shift, one of each per gauge variable. Scales are related by factors, s_i = f·s_j, shifts by linear equations,
Σ c_i·σ_i = d. Everything that was ever stated can be taken back to a checkpoint, so that the removal of a normalization
is tried and undone whole when one channel fails. Statements are made about many channels at a time.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnfold.folding.affine import Array
from bnfold.folding.journal import Ids, Journal, distinct
from bnfold.folding.scale_classes import ScaleClasses
from bnfold.folding.shift_equations import ShiftEquations

IDENTITY = 0
"""The gauge variable that is known: s = 1, σ = 0."""


class Gauges:
    """Scale classes and shift equations, with an undo log.

    Arguments broadcast against each other, and a statement is made for each entry of what results. A cause is an
    integer that the caller chooses, one for all entries or one for each; it comes back in `Contradiction`.
    """

    def __init__(self) -> None:
        self._journal = Journal()
        self._scales = ScaleClasses(self._journal)
        self._shifts = ShiftEquations(self._journal)
        (identity,) = self.fresh(1)
        assert identity == IDENTITY
        self._scales.ground(IDENTITY)
        self._shifts.ground(IDENTITY)

    def __len__(self) -> int:
        """Return the number of gauge variables."""
        return len(self._scales)

    def fresh(self, count: int) -> Ids:
        """Return ``count`` new variables about which nothing is known, shape (count,)."""
        self._shifts.add(count)
        return self._scales.add(count)

    # Undo

    def checkpoint(self) -> int:
        """Return a mark for `rollback`."""
        return self._journal.checkpoint()

    def rollback(self, mark: int) -> None:
        """Take back every statement made since `checkpoint` returned ``mark``."""
        self._journal.rollback(mark)

    def are_known(self, ids: Ids) -> NDArray[np.bool_]:
        """Return of which variables both scale and shift are known, in the shape of ``ids``."""
        return (self.roots(ids)[0] == self.roots(np.array([IDENTITY]))[0]) & self._shifts.are_known(ids)

    # Scales

    def roots(self, ids: Ids) -> tuple[Ids, Array]:
        """Return the representatives r of the classes of ``ids``, and f with s_i = f·s_r, both in the shape of ids."""
        return self._scales.roots(ids)

    def signs(self, roots: Ids) -> NDArray[np.int8]:
        """Return the signs that the scales of representatives must have, 0 where either will do."""
        return self._scales.signs(roots)

    def relate_scales(self, i: ArrayLike, j: ArrayLike, factor: ArrayLike, cause: ArrayLike) -> None:
        """State s_i = factor·s_j.

        Raises:
            Contradiction: the two are in one class with another factor, or of signs that do not fit.
        """
        left, right, factors, causes = np.broadcast_arrays(i, j, np.asarray(factor, dtype=np.float64), cause)
        self._scales.relate(left.ravel(), right.ravel(), factors.ravel(), causes.ravel())

    def require_positive(self, ids: ArrayLike, cause: int) -> None:
        """State s_i > 0.

        Raises:
            Contradiction: the scale is known, or required elsewhere, to be negative.
        """
        self._scales.require_positive(distinct(np.asarray(ids)), cause)

    def know_scale(self, ids: ArrayLike, cause: int) -> None:
        """State s_i = 1.

        Raises:
            Contradiction: as `relate_scales`.
        """
        self.relate_scales(distinct(np.asarray(ids)), IDENTITY, 1.0, cause)

    # Shifts

    def relate_shifts(
        self, terms: Sequence[tuple[ArrayLike, ArrayLike]], constant: ArrayLike, cause: ArrayLike
    ) -> None:
        """State Σ coefficient·σ_i = constant for ``terms`` of (coefficient, i).

        One variable is eliminated, the first whose coefficient is not small: put those first that should take the value
        while the others stay free.

        Raises:
            Contradiction: the equation is over-determined and does not hold.
        """
        arrays = [(np.asarray(coefficient, dtype=np.float64), np.asarray(ids)) for coefficient, ids in terms]
        self._shifts.relate(arrays, np.asarray(constant, dtype=np.float64), np.asarray(cause))

    def forbid_shift(self, ids: ArrayLike, cause: int) -> None:
        """State σ_i = 0.

        Raises:
            Contradiction: as `relate_shifts`.
        """
        self._shifts.forbid(distinct(np.asarray(ids)), cause)

    def shifts(self, ids: Ids) -> Array:
        """Return σ_i with every variable that is still free at 0, in the shape of ``ids``."""
        return self._shifts.values(ids)
