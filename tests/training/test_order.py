from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.data import Dataset
from bnfold.errors import InputError
from bnfold.training.order import epoch_order, steps_between, steps_per_epoch


def numbered(samples: int) -> Dataset:
    """Return samples that are their own numbers."""
    return Dataset("numbered", {"x": np.arange(samples)})


def numbers(dataset: Dataset, batch_size: int, start: int, stop: int) -> list[list[int]]:
    """Return which samples each step sees."""
    found = list(steps_between(dataset, batch_size, 3, start=start, stop=stop))
    assert [step for step, _ in found] == list(range(start, stop))
    return [indices.tolist() for _, indices in found]


@given(samples=st.integers(1, 30), batch_size=st.integers(1, 30), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_any_interruption_leaves_the_order_as_it_was(samples: int, batch_size: int, cuts: list[int]) -> None:
    """However often training is broken off, the steps see the samples that they would have seen."""
    batch_size = min(samples, batch_size)
    bounds = [0, *sorted(cuts), 40]
    whole = numbers(numbered(samples), batch_size, 0, 40)
    parts = [numbers(numbered(samples), batch_size, a, b) for a, b in pairwise(bounds)]
    assert [step for part in parts for step in part] == whole
    assert len(whole) == 40
    assert {len(step) for step in whole} == {batch_size}


def test_an_epoch_shows_no_sample_twice_and_another_order_each_time() -> None:
    """Within an epoch samples are distinct; epochs and seeds differ; what one epoch leaves out others show."""
    dataset = numbered(23)
    steps = numbers(dataset, 5, 0, 40)
    epochs = [list(chain(*steps[at : at + 4])) for at in range(0, 40, 4)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10
    assert set(chain(*epochs)) == set(range(23))
    assert epoch_order(0, 0, 23).tolist() != epoch_order(1, 0, 23).tolist()


def test_without_shuffling_every_epoch_repeats_the_first() -> None:
    """The same minibatches meet again, wherever training begins."""
    order = [x.tolist() for _, x in steps_between(numbered(23), 5, 3, start=0, stop=12, shuffle=False)]
    assert order[:4] == order[4:8] == order[8:]
    assert order[:4] == numbers(numbered(23), 5, 0, 4)
    assert [x.tolist() for _, x in steps_between(numbered(23), 5, 3, start=6, stop=9, shuffle=False)] == order[6:9]


def test_a_minibatch_larger_than_the_data_is_refused() -> None:
    """Without one full minibatch there is nothing to train on."""
    assert steps_per_epoch(numbered(7), 7) == 1
    with pytest.raises(InputError, match="batch-size: 8 is more than the 7 training samples of numbered"):
        steps_per_epoch(numbered(7), 8)
