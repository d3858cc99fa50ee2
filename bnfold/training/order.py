"""The order of the training data: a function of seed and epoch, so that any step can be found again without history."""

from collections.abc import Iterator

import numpy as np

from bnfold.data.dataset import Array, Batch, Dataset
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


def batches_between(dataset: Dataset, batch_size: int, seed: int, *, start: int, stop: int) -> Iterator[Batch]:
    """Yield the minibatches of steps ``start`` to ``stop`` − 1, each full, whether training begins there or goes on."""
    per_epoch = steps_per_epoch(dataset, batch_size)
    while start < stop:
        epoch, done = divmod(start, per_epoch)
        last = min(per_epoch, stop - epoch * per_epoch)
        order = epoch_order(seed, epoch, len(dataset))[done * batch_size : last * batch_size]
        yield from dataset.batches(batch_size, order=order)
        start += last - done
