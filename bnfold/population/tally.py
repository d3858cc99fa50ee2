"""Calls of BN layers added up, one minibatch at a time, into an estimate per layer."""

from collections.abc import Sequence

from bnfold.errors import InputError
from bnfold.population.estimators import Estimate, Estimator, empty_estimate
from bnfold.population.minibatch import Call

Sizes = dict[str, list[int]]
"""Values per channel of every call of every layer in one minibatch, by layer."""


class Tally:
    """The estimates of all layers, and which minibatches went into them.

    A minibatch goes in whole, once its forward pass is over, or not at all. The size of the last one may be
    unfit for its estimator: it then stays out, with a note, unless it is the only one. Unfit is

    1. for every estimator: one value per channel, as in a single sample before a ``BatchNorm1d`` of (N, C). It has no
       variance, and normalized by it every sample is β;
    2. for ``ALGORITHM_2``: another size than that of the first. The paper's formula is over minibatches of one size.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.estimates: dict[str, Estimate] = {}
        self.batches = 0
        self.samples = 0
        self.notes: tuple[str, ...] = ()
        self._sizes: Sizes = {}
        self._objection: str | None = None

    def add(self, calls: Sequence[Call], samples: int) -> None:
        """Take in the calls of one forward pass over ``samples`` samples.

        Raises:
            InputError: a layer's input is not finite, or the minibatch before this one was refused.
        """
        self._require_sound()
        sizes: Sizes = {}
        for call in calls:
            sizes.setdefault(call.layer, []).append(call.measured.count)
        self._objection = self._object_to(sizes)
        if self._objection is not None:
            self.notes = (f"The last batch ({samples} samples) was left out: {self._objection}",)
            return
        for call in calls:
            moments = call.moments()
            if call.layer not in self.estimates:
                self.estimates[call.layer] = empty_estimate(self.estimator, moments.mean.size)
            self.estimates[call.layer].add(moments)
        self._sizes = sizes | self._sizes
        self.batches += 1
        self.samples += samples

    def finish(self) -> None:
        """Check that there were minibatches to estimate from.

        Raises:
            InputError: there were none, or the only one was refused.
        """
        if self.batches == 0:
            self._require_sound()
            raise InputError("batches: empty; expected at least one batch to estimate the statistics from.")

    def _require_sound(self) -> None:
        """Raise what spoke against the newest minibatch, now that it is not the last of several."""
        if self._objection is not None:
            raise InputError(f"batch {self.batches + 1}: {self._objection}")

    def _object_to(self, sizes: Sizes) -> str | None:
        for layer, counts in sizes.items():
            if min(counts) == 1:
                return f"it has one value per channel at BN layer {layer}, which has no variance; use larger batches."
            if self.estimator is Estimator.ALGORITHM_2 and counts != self._sizes.get(layer, counts):
                found = f"has {sum(counts)} values per channel in this one, {sum(self._sizes[layer])} in the first"
                return f"algorithm-2 is over minibatches of one size; BN layer {layer} {found}; use pooled for others."
        return None
