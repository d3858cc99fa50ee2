"""The training data in order: a function of seed and epoch, so that any step can be found again without history."""

from collections.abc import Iterator

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.errors import InputError


def epoch_order(seed: int, epoch: int, samples: int) -> Array:
    """Return the permutation ``(samples,)`` of epoch number ``epoch``, counted from 0."""
    return np.random.default_rng([seed, epoch]).permutation(samples)


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Return how many full minibatches the data holds.

    Raises:
        InputError: not even one.
    """
    if batch_size > len(dataset):
        raise InputError(
            f"batch-size: {batch_size} is more than the {len(dataset)} training samples of {dataset.name}."
        )
    return len(dataset) // batch_size


def steps_between(
    dataset: Dataset, batch_size: int, seed: int, *, start: int, stop: int, shuffle: bool = True
) -> Iterator[tuple[int, Array]]:
    """Yield steps ``start`` to ``stop`` − 1, each with its full minibatch's sample indices ``(batch_size,)``.

    It makes no difference whether training begins at ``start`` or goes on there. Without ``shuffle`` every epoch has
    the order of the first one.
    """
    per_epoch = steps_per_epoch(dataset, batch_size)
    order, ordered = None, -1
    for step in range(start, stop):
        epoch, place = divmod(step, per_epoch)
        if order is None or epoch != ordered:
            order, ordered = epoch_order(seed, epoch if shuffle else 0, len(dataset)), epoch
        yield step, order[place * batch_size : (place + 1) * batch_size]
