"""Labels move as data do: against NumPy, which moves data."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.folding import labels
from bnfold.folding.gauges import Ids
from bnfold.graph.shapes import Dims


@st.composite
def factorings(draw: st.DrawFn, number: int) -> list[int]:
    """Draw extents whose product is ``number``, ones among them."""
    extents: list[int] = []
    while number > 1 or draw(st.booleans()):
        if len(extents) == 5:
            extents.append(number)
            break
        extents.append(draw(st.sampled_from([n for n in range(1, number + 1) if number % n == 0])))
        number //= extents[-1]
    return extents


@st.composite
def labelled_reshapes(draw: st.DrawFn) -> tuple[Ids, list[int], list[int]]:
    """Draw a label, the extents of its value, and those after a reshape."""
    before = draw(st.lists(st.integers(1, 6), max_size=4))
    after = draw(factorings(math.prod(before)))
    extents = [extent if draw(st.booleans()) else 1 for extent in before]
    label = np.random.default_rng(draw(st.integers(0, 99))).integers(1, 9, extents)
    return label, before, after


def moved(label: Ids, before: list[int], after: list[int]) -> Ids:
    """Return what NumPy makes of the label as data: one entry an element."""
    return np.broadcast_to(label, before).reshape(after)


@given(labelled_reshapes())
def test_static_reshapes_move_labels_as_data(case: tuple[Ids, list[int], list[int]]) -> None:
    """With all extents known no label is lost, and each element keeps its own."""
    label, before, after = case
    result = labels.reshaped(label, tuple(before), tuple(after))
    assert result is not None
    assert result.ndim == len(after)
    assert np.array_equal(np.broadcast_to(result, after), moved(label, before, after))


@given(labelled_reshapes(), st.integers(1, 3))
def test_a_dynamic_batch_in_front(case: tuple[Ids, list[int], list[int]], batch: int) -> None:
    """A symbolic extent that stays in front changes nothing."""
    label, before, after = case
    result = labels.reshaped(label[np.newaxis], ("N", *before), ("N", *after))
    assert result is not None
    full = moved(label[np.newaxis], [batch, *before], [batch, *after])
    assert np.array_equal(np.broadcast_to(result, [batch, *after]), full)


@given(labelled_reshapes(), st.data(), st.integers(1, 3))
def test_symbolic_extents_are_never_mistaken(
    case: tuple[Ids, list[int], list[int]], data: st.DataObject, batch: int
) -> None:
    """Whichever extents are symbols or unknown on either side, a label that comes out is the right one."""
    label, before, after = case
    # An axis that the label varies along is of known extent.
    left = [
        data.draw(st.sampled_from([n, f"D{n}", None])) if e == 1 else n
        for n, e in zip(before, label.shape, strict=True)
    ]
    right = [data.draw(st.sampled_from([n, f"D{n}", None])) for n in after]
    result = labels.reshaped(label[np.newaxis], ("N", *left), (data.draw(st.sampled_from(["N", None])), *right))
    if result is not None:
        full = moved(label[np.newaxis], [batch, *before], [batch, *after])
        assert np.array_equal(np.broadcast_to(result, [batch, *after]), full)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((None, 6), (None, 2, 6)),
        ((None, 6), (None, 3)),
        ((None, 8, 5), (None, 8, 8, 5)),
        ((None, 6, None), (None, 6, None)),
    ],
)
def test_two_unknown_extents_are_not_equal(before: Dims, after: Dims) -> None:
    """Nothing says that what is not known on one side is what is not known on the other."""
    label = np.arange(1, 1 + int(before[1] or 1)).reshape(1, -1, *[1] * (len(before) - 2))
    assert labels.reshaped(label, before, after) is None


@pytest.mark.parametrize(
    ("before", "after", "groups"),
    [
        (("N", 6, "H", "W"), ("N", 2, 3, "H", "W"), [([0], [0]), ([1], [1, 2]), ([2], [3]), ([3], [4])]),
        (("N", 6, 4, 5), ("N", None), [([0], [0]), ([1, 2, 3], [1])]),
        (("N", 5, 6), (None, 6), [([0, 1], [0]), ([2], [1])]),
        (("N", 6), ("N", 6, 1, 1), [([0], [0]), ([1], [1]), ([], [2, 3])]),
        ((4, 1, 6), (4, 6), [([0], [0]), ([1, 2], [1])]),
        ((2, 3), (3, 2), [([0, 1], [0, 1])]),
    ],
)
def test_groups(before: Dims, after: Dims, groups: list[tuple[list[int], list[int]]]) -> None:
    """Groups are as short as can be, and one unknown extent is what remains."""
    found = [(list(left), list(right)) for left, right in labels.reshape_groups(before, after)]
    assert found == groups


@given(labelled_reshapes())
def test_groups_cover_every_axis_once(case: tuple[Ids, list[int], list[int]]) -> None:
    """Side by side the groups are all axes in order, and each holds as many elements on both sides."""
    _, before, after = case
    groups = labels.reshape_groups(tuple(before), tuple(after))
    assert [axis for left, _ in groups for axis in left] == list(range(len(before)))
    assert [axis for _, right in groups for axis in right] == list(range(len(after)))
    for left, right in groups:
        assert math.prod(before[axis] for axis in left) == math.prod(after[axis] for axis in right)


def test_along_one_axis() -> None:
    """Channels on one axis of a rank."""
    assert labels.along(np.arange(3), 1, 4).shape == (1, 3, 1, 1)
    assert labels.along(np.arange(3), 0, 1).shape == (3,)


def test_leading_axes() -> None:
    """Broadcasting aligns at the right."""
    assert labels.with_rank(np.ones((3, 1)), 4).shape == (1, 1, 3, 1)


def test_varying_axes() -> None:
    """Axes of extent above 1."""
    assert labels.varying(np.ones((1, 3, 1, 2))) == (1, 3)
    assert labels.varying(labels.identity(3)) == ()
