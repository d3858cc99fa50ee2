"""What a recompute pass found: the population statistics of every layer that it reached."""

from collections.abc import Mapping
from dataclasses import dataclass

from bnfold.errors import InputError
from bnfold.population.estimators import Pooled


@dataclass(frozen=True, eq=False)
class Findings:
    """The estimate of every BN layer that was reached, by name, and how it came about.

    Attributes:
        estimates: by the layer's name, in the order in which they are called.
        samples: how many samples went in, over all processes.
        batches: how many batches, over all processes.
        notes: what a user should know, in sentences.
    """

    estimates: Mapping[str, Pooled]
    samples: int
    batches: int
    notes: tuple[str, ...] = ()


def require_variance(name: str, estimate: Pooled) -> None:
    """Check that a layer has more than one value per channel.

    Raises:
        InputError: one value has no variance.
    """
    if estimate.count < 2:
        found = "1 value per channel has" if estimate.count else "no value, under masks that are nowhere true, has"
        raise InputError(f"BN layer {name}: {found} no variance; use more samples.")
