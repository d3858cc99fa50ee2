"""Which affine maps bear on each other: a graph falls into parts, whose gauges have nothing to do with each other.

A linear operator takes up what is on either side of it, so that a part ends there; an operand that is held says nothing
of one that is held elsewhere.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from bnfold.folding.forms import Pointwise
from bnfold.folding.gauges import Gauges
from bnfold.folding.journal import distinct


def parts(gauges: Gauges, pointwise: Sequence[Pointwise]) -> list[list[Pointwise]]:
    """Return the maps of each part, in the order in which they were given.

    Two maps are in one part if variables of theirs that are not known yet are of one scale class; whatever relates
    shifts relates scales as well, but for the maps themselves. Whether the maps of a part can go does not depend on
    what becomes of those of others.
    """
    of_part: dict[int, list[Pointwise]] = {}
    roots = list(range(len(pointwise)))
    for one, other in _neighbours(gauges, pointwise):
        roots[_root(roots, one)] = _root(roots, other)
    for number, member in enumerate(pointwise):
        of_part.setdefault(_root(roots, number), []).append(member)
    return list(of_part.values())


def _neighbours(gauges: Gauges, pointwise: Sequence[Pointwise]) -> Iterator[tuple[int, int]]:
    """Yield the numbers of maps that share a scale class: of each class the first map and every other."""
    sides = [np.concatenate([each.sources.ravel(), each.targets.ravel()]) for each in pointwise]
    if not sides:
        return
    variables, owners = np.concatenate(sides), np.repeat(np.arange(len(sides)), [len(side) for side in sides])
    open_ = ~gauges.are_known(variables)
    classes, owners = gauges.roots(variables[open_])[0], owners[open_]
    first = np.full(len(gauges), len(sides))
    np.minimum.at(first, classes, owners)
    pairs = distinct(first[classes] * len(sides) + owners)
    yield from (divmod(pair, len(sides)) for pair in pairs.tolist())


def _root(roots: list[int], number: int) -> int:
    """Return the representative of a number's set, which the way there is shortened to."""
    while roots[number] != number:
        roots[number] = number = roots[roots[number]]
    return number
