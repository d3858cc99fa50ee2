"""What one process computes of each update: its samples of every part of the minibatch, and what they weigh."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bnfold.data.augment import augmented, parse_augmentations
from bnfold.data.dataset import Array, Batch, Dataset
from bnfold.errors import InputError
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.order import steps_between
from bnfold.training.replicas import Replicas


@dataclass(frozen=True)
class Share:
    """Samples that go through the network together.

    Attributes:
        batch: the samples.
        weight: their part of the minibatch's samples; the weights of all shares of all processes sum to 1.
    """

    batch: Batch
    weight: float = 1.0


def shares_between(
    dataset: Dataset, settings: Hyperparameters, replicas: Replicas, *, start: int, stop: int
) -> Iterator[list[Share]]:
    """Yield this process's shares of steps ``start`` to ``stop`` − 1, augmented, one share a part of the minibatch."""
    augmentations = parse_augmentations(settings.augment)
    steps = steps_between(dataset, settings.batch_size, settings.seed, start=start, stop=stop, shuffle=settings.shuffle)
    own = _own_places(settings, replicas)
    for step, indices in steps:
        yield [
            Share(
                augmented(
                    dataset.select(indices[places]),
                    augmentations,
                    seed=settings.seed,
                    step=step,
                    samples=len(indices),
                    places=places,
                ),
                len(places) / len(indices),
            )
            for places in own
        ]


def require_shares(settings: Hyperparameters, replicas: Replicas) -> None:
    """Check that every process gets samples of every part.

    Raises:
        InputError: the minibatch is too small for that.
    """
    needed = settings.accumulate * replicas.size
    if settings.batch_size < needed:
        raise InputError(
            f"batch-size: {settings.batch_size} samples cannot be cut into {settings.accumulate} parts for "
            f"{replicas.size} processes; take {needed} or more."
        )


def _own_places(settings: Hyperparameters, replicas: Replicas) -> list[Array]:
    """Return where in the minibatch this process's samples of every part stand."""
    parts = np.array_split(np.arange(settings.batch_size), settings.accumulate)
    return [part[replicas.share(len(part))] for part in parts]
