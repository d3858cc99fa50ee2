"""Chooses the scales that the plan leaves free."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from bnfold.folding.forms import Pointwise
from bnfold.folding.gauges import IDENTITY, Gauges, Ids
from bnfold.folding.solution import Solution

_SNAP = 1e-14
"""A scale this close to 1 is 1 but for the roundings of a class's factors, and leaves weights as they are."""


def choose_scales(gauges: Gauges, removed: Iterable[Pointwise], balanced: Collection[int] = ()) -> Solution:
    """Return a scale and a shift for every variable.

    The values of a class that the folded graph still has get scales of geometric mean 1, so that a plain Conv → BN
    leaves the normalized value as it was; the input of a removed map is not among them, since it becomes the map's
    output. Where that overstrains a weight's type, the class's root is in ``balanced``: there the inputs count too, and
    the scale is spread over the weights on both sides. Free shifts are 0.
    """
    variables = np.arange(len(gauges))
    roots, factors = gauges.roots(variables)
    survives = np.ones(len(gauges), dtype=bool)
    for pointwise in removed:
        survives[pointwise.sources.ravel()] = False
    survives |= np.isin(roots, list(balanced))
    survives |= ~np.isin(roots, roots[survives])  # a class all of whose values go counts them all
    scale = factors * _normalization(gauges, roots, factors, survives)[roots]
    scale[np.abs(scale - 1.0) <= _SNAP] = 1.0
    return Solution(scale, gauges.shifts(variables))


def made_equal(solution: Solution, pairs: Sequence[tuple[Ids, Ids]]) -> Solution:
    """Return the solution with one scale for the variables of a pair; theirs differ by roundings at most."""
    if not pairs:
        return solution
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    first = np.arange(len(solution.scale))
    while (first[left] != first[right]).any():
        lower = np.minimum(first[left], first[right])
        for side in (left, right):
            np.minimum.at(first, side, lower)
    return replace(solution, scale=solution.scale[first])


def _normalization(gauges: Gauges, roots: np.ndarray, factors: np.ndarray, survives: np.ndarray) -> np.ndarray:
    """Return the scale of every root: known, or such that the surviving members have geometric mean 1."""
    count = len(roots)
    members = np.bincount(roots[survives], minlength=count)
    logs = np.bincount(roots[survives], np.log(np.abs(factors[survives])), minlength=count)
    signs = np.bincount(roots[survives], np.sign(factors[survives]), minlength=count)
    mean = np.exp(-logs / np.maximum(members, 1))
    required = gauges.signs(np.arange(count))
    scale = mean * np.where(required != 0, required, np.where(signs < 0, -1, 1))
    scale[roots[IDENTITY]] = 1.0 / factors[IDENTITY]
    return scale
