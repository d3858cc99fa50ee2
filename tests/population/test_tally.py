"""Tests of ``bnfold.population.tally``: which minibatches go in, and which do not."""

import numpy as np
import pytest
import torch

from bnfold.errors import InputError
from bnfold.population.estimators import Estimator
from bnfold.population.measure import measure
from bnfold.population.minibatch import Call
from bnfold.population.tally import Tally

POOLED, ALGORITHM_2 = Estimator.POOLED, Estimator.ALGORITHM_2


def tally_of(estimator: Estimator, *sizes: int) -> Tally:
    """Return the tally of minibatches (size, 2) of one layer, the k-th all of k."""
    tally = Tally(estimator)
    for k, size in enumerate(sizes):
        tally.add([Call("bn", measure(torch.full((size, 2), float(k))))], size)
    return Tally.total([tally])


def test_pooled_weighs_a_ragged_last_batch_by_its_count() -> None:
    """Batches of 6 zeros and 2 ones have mean 1/4, not 1/2."""
    tally = tally_of(POOLED, 6, 2)
    np.testing.assert_allclose(tally.estimates["bn"].mean, 1 / 4)
    assert (tally.samples, tally.batches, tally.notes) == (8, 2, ())


def test_algorithm_2_leaves_a_ragged_last_batch_out_and_says_so() -> None:
    """The paper's formula is over minibatches of one size."""
    tally = tally_of(ALGORITHM_2, 6, 6, 2)
    np.testing.assert_allclose(tally.estimates["bn"].mean, 1 / 2)
    assert (tally.samples, tally.batches) == (12, 2)
    assert len(tally.notes) == 1
    assert "The last batch (2 samples) was left out" in tally.notes[0]
    assert "bn has 2 values per channel in this one, 6 in the first" in tally.notes[0]


def test_algorithm_2_refuses_another_size_before_the_end() -> None:
    """Only the last batch may be of another size."""
    with pytest.raises(InputError, match="batch 2: algorithm-2 is over minibatches of one size"):
        tally_of(ALGORITHM_2, 6, 2, 6)


@pytest.mark.parametrize("estimator", [POOLED, ALGORITHM_2])
def test_a_last_batch_of_one_value_is_left_out(estimator: Estimator) -> None:
    """One value per channel has no variance: at the end it stays out with a note."""
    tally = tally_of(estimator, 6, 1)
    assert tally.samples == 6
    assert "(1 sample) was left out: it has one value per channel at BN layer bn" in tally.notes[0]


@pytest.mark.parametrize("sizes", [(1,), (1, 6), (6, 1, 6)])
def test_one_value_elsewhere_is_refused(sizes: tuple[int, ...]) -> None:
    """A batch of one value per channel is an error where it is the only one, or not the last."""
    with pytest.raises(InputError, match=r"batch \d: it has one value per channel at BN layer bn"):
        tally_of(POOLED, *sizes)


def test_no_batches_are_refused() -> None:
    """There is nothing to estimate from."""
    with pytest.raises(InputError, match="empty"):
        tally_of(POOLED)


def test_calls_of_different_sizes_may_repeat() -> None:
    """Algorithm 2 of a layer that is called on two scales: the sizes have to be those of the same call before."""
    tally = Tally(ALGORITHM_2)
    scales = [Call("bn", measure(torch.zeros(2, 3, extent))) for extent in (8, 4)]
    tally.add(scales, 2)
    tally.add(scales, 2)
    tally = Tally.total([tally])
    assert tally.estimates["bn"].count == 2 * (2 * 8 + 2 * 4)


def test_layers_may_be_reached_by_some_batches_only() -> None:
    """A layer's first minibatch sets its size, whichever batch that is, and batches that pass it by change nothing."""
    tally = Tally(ALGORITHM_2)
    for layer, size in (("always", 4), ("sometimes", 5), ("always", 4)):
        tally.add([Call(layer, measure(torch.zeros(size, 2)))], 6)
    tally.add([Call("sometimes", measure(torch.zeros(3, 2)))], 6)
    tally = Tally.total([tally])
    assert "BN layer sometimes has 3 values per channel in this one, 5 in the first" in tally.notes[0]
