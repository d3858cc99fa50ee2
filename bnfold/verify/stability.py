"""Does a run say the same thing twice, and of a sample whatever its neighbours are?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bnfold.verify.oracle import Array
from bnfold.verify.tolerance import Size
from bnfold.verify.verdict import Finding, Verdict


@dataclass(frozen=True)
class Stability:
    """One output of the candidate over the largest batch, run again, and run with its samples in reverse.

    Attributes:
        name: of the output.
        repeat: difference of two equal runs: the noise floor of the runtime.
        order: difference of a run from the one with the samples reversed, put back in order; None where the output has
            no axis for the samples.
        limit: what the verdict holds the output to.
    """

    name: str
    repeat: Size
    order: Size | None
    limit: Size


def stability(name: str, first: Array, again: Array, reversed_: Array, samples: int, limit: Size) -> Stability:
    """Measure both differences of one output, ``(samples, ...)``."""
    has_samples = first.ndim > 0 and len(first) == samples and reversed_.shape == first.shape
    order = Size.of_difference(reversed_[::-1], first) if has_samples else None
    return Stability(name, Size.of_difference(again, first), order, limit)


def stability_findings(found: Sequence[Stability], *, mixes: bool) -> Iterator[Finding]:
    """Find runs that differ by more than precision explains; ``mixes`` says that the original itself mixes samples.

    Each of two runs may be off by the limit, in opposite directions: they may differ by twice as much.
    """
    for each in found:
        limit = each.limit * 2
        if not each.repeat.within(limit):
            words = (
                f"output {each.name}: two equal runs differ by {each.repeat.rms:.1e}, twice the limit {limit.rms:.1e}"
            )
            yield Finding(Verdict.NOT_EQUIVALENT, words, "repeat", each.name)
        if each.order is not None and not mixes and not each.order.within(limit):
            words = f"output {each.name}: a sample's result depends on its neighbours in the batch"
            told = f"{words}: in reverse order it differs by {each.order.rms:.1e}, twice the limit is {limit.rms:.1e}"
            yield Finding(Verdict.NOT_EQUIVALENT, told, "order", each.name)
