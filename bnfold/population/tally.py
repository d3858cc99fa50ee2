"""Calls of BN layers added up, one minibatch at a time, into an estimate per layer."""

from collections.abc import Iterable, Sequence

from bnfold.errors import InputError
from bnfold.population.estimators import Estimator, Pooled
from bnfold.population.ledger import Ledger, Observed

NO_BATCHES = "batches: empty; expected at least one batch to estimate the statistics from."

Sizes = dict[str, list[int]]
"""Values per channel of every call of every layer in one minibatch, by layer."""


class Tally:
    """The estimates of all layers, and which minibatches went into them.

    A minibatch goes in whole, once its forward pass is over, or not at all. The size of the last one may be
    unfit for its estimator: it then stays out, with a note, unless it is the only one. Unfit is

    1. for every estimator: one value per channel, as in a single sample before a ``BatchNorm1d`` of (N, C). It has no
       variance, and normalized by it every sample is β; none under a mask that is nowhere true;
    2. for ``ALGORITHM_2``: another size than that of the first. The paper's formula is over minibatches of one size.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self._ledger = Ledger(estimator)
        self.batches = 0
        self.samples = 0
        self.notes: tuple[str, ...] = ()
        self._sizes: Sizes = {}
        self._objection: str | None = None

    def add(self, calls: Sequence[Observed], samples: int) -> None:
        """Take in the calls of one forward pass over ``samples`` samples.

        Raises:
            InputError: a layer's input is not finite, or the minibatch before this one was refused.
        """
        self._require_sound()
        sizes: Sizes = {}
        for call in calls:
            sizes.setdefault(call.layer, []).append(call.count)
        self._objection = self._object_to(sizes)
        if self._objection is not None:
            count = "1 sample" if samples == 1 else f"{samples} samples"
            self.notes = (f"The last batch ({count}) was left out: {self._objection}",)
            return
        for call in calls:
            self._ledger.add(call)
        self._sizes = sizes | self._sizes
        self.batches += 1
        self.samples += samples

    @classmethod
    def total(cls, parts: Iterable["Tally"]) -> "Tally":
        """Return the tallies of all processes as one, each minibatch in it once.

        Raises:
            InputError: there was no minibatch, the only one was refused, or ``ALGORITHM_2`` met different sizes.
        """
        first, *others = parts
        for other in others:
            first._take_in(other)
        if first.batches == 0:
            first._require_sound()
            raise InputError(NO_BATCHES)
        return first

    def _take_in(self, other: "Tally") -> None:
        if self.estimator is Estimator.ALGORITHM_2:
            for layer, counts in other._sizes.items():
                if counts != self._sizes.get(layer, counts):
                    raise InputError(
                        f"algorithm-2 is over minibatches of one size; BN layer {layer} has {sum(counts)} values per "
                        f"channel in one process, {sum(self._sizes[layer])} in another; use pooled for others."
                    )
        self._ledger.merge(other._ledger)
        self._sizes = other._sizes | self._sizes
        self.batches += other.batches
        self.samples += other.samples
        self.notes += tuple(note for note in other.notes if note not in self.notes)
        self._objection = self._objection or other._objection

    @property
    def estimates(self) -> dict[str, Pooled]:
        """The estimate of every layer so far, by name."""
        return self._ledger.estimates

    def _require_sound(self) -> None:
        """Raise what spoke against the newest minibatch, now that it is not the last of several."""
        if self._objection is not None:
            raise InputError(f"batch {self.batches + 1}: {self._objection}")

    def _object_to(self, sizes: Sizes) -> str | None:
        for layer, counts in sizes.items():
            if min(counts) == 0:
                return f"its mask is nowhere true at BN layer {layer}, which cannot normalize by it; leave it out."
            if min(counts) == 1:
                return f"it has one value per channel at BN layer {layer}, which has no variance; use larger batches."
            if self.estimator is Estimator.ALGORITHM_2 and counts != self._sizes.get(layer, counts):
                found = f"has {sum(counts)} values per channel in this one, {sum(self._sizes[layer])} in the first"
                return f"algorithm-2 is over minibatches of one size; BN layer {layer} {found}; use pooled for others."
        return None
