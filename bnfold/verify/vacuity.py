"""What makes a comparison hollow: it passes, and would have passed with a wrong candidate as well.

A comparison is inconclusive where the original is not finite, where nothing was compared, where the samples are all the
same, where an output hardly depends on them, or where the original itself is mostly noise. A candidate that is not
finite where the original is differs.
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from bnfold.verify.oracle import Array
from bnfold.verify.samples import Arrays
from bnfold.verify.tolerance import Size
from bnfold.verify.verdict import Finding, Verdict

DISCERNIBLE = 10.0
"""An output must vary over the samples by this many times its limit, or a fault of a tenth of it would not show."""


def input_findings(inputs: Arrays) -> Iterator[Finding]:
    """Find samples that cannot show whether an output depends on its input."""
    stacked = [array for array in inputs.values() if array.ndim]
    if any(not array.size for array in inputs.values()):
        yield _inconclusive("the inputs are empty")
    elif not any(bool((array != array[:1]).any()) for array in stacked):
        yield _inconclusive("fewer than two different samples: they cannot show that the outputs depend on the input")
    for name, array in inputs.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            yield _inconclusive(f"input {name} is not finite")


def value_findings(name: str, oracle: Array, baseline: Array, candidate: Array) -> Iterator[Finding]:
    """Find an output that holds nothing, or NaN or infinity, in the values of the oracle, original or candidate."""
    if not oracle.size:
        yield _inconclusive(f"output {name} is empty: nothing was compared")
    elif not np.isfinite(oracle).all():
        yield _inconclusive(f"output {name} of the original is not finite in {_share(oracle)}, in float64")
    elif not np.isfinite(baseline).all():
        yield _inconclusive(f"output {name} of the original is not finite in {_share(baseline)}, on the runtime")
    elif not np.isfinite(candidate).all():
        words = f"output {name} of the candidate is not finite in {_share(candidate)}, the original's is"
        yield Finding(Verdict.NOT_EQUIVALENT, words, about="values", output=name)


def contrast_findings(name: str, oracle: Array, samples: int, limit: Size) -> Iterator[Finding]:
    """Find an output that varies over the samples by too little for its limit to tell a wrong candidate by."""
    variation = variation_over_samples(oracle, samples)
    if not variation:
        yield _contrast(name, "is the same for every sample")
    elif variation < DISCERNIBLE * limit.rms:
        words = (
            f"varies over the samples by {variation:.1e}, less than {DISCERNIBLE:.0f} times its limit {limit.rms:.1e}"
        )
        yield _contrast(name, words)


def noise_findings(name: str, baseline: Size, output: Size, roundoff: float) -> Iterator[Finding]:
    """Find an original that agrees with the oracle in fewer than half of the digits of its type: √u, relative."""
    if baseline.rms > sqrt(roundoff) * output.rms:
        words = f"its own run differs from the float64 oracle by {baseline.rms / output.rms:.1e} of its size"
        yield _inconclusive(f"output {name} of the original is mostly rounding noise: {words}")


def variation_over_samples(oracle: Array, samples: int) -> float:
    """Return the root mean square, over all elements, of the deviation from the mean over the samples."""
    by_sample = oracle.reshape(samples, -1) if oracle.size % samples == 0 else oracle.reshape(len(oracle), -1)
    return Size.of(by_sample - by_sample.mean(axis=0)).rms


def _inconclusive(words: str) -> Finding:
    return Finding(Verdict.INCONCLUSIVE, words, about="vacuity")


def _contrast(name: str, words: str) -> Finding:
    told = f"output {name} {words}: it would not show a difference"
    return Finding(Verdict.INCONCLUSIVE, told, about="contrast", output=name)


def _share(values: Array) -> str:
    return f"{int((~np.isfinite(values)).sum())} of {values.size} elements"
