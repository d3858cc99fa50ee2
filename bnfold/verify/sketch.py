"""A tensor in few numbers, by which another one can be held to it: sums of its parts under random signs."""

import math

import numpy as np

from bnfold.verify.oracle import Array

_SEED = 0


def sketch(values: Array, parts: int) -> Array:
    """Return s_p = Σ_i r_i·v_i / √m over each of ``parts`` equal stretches of the values, m numbers long.

    The r_i are ±1, the same in every sketch, so that sketches subtract as the values do, and of a difference e the root
    mean square of the sketch is that of e, in expectation: an error in one element, in one channel or in all of them
    shows, whatever the mean is. Elements are taken in C order; the last stretch may be shorter, and there are as many
    as there are elements where those are fewer. Shape (min(parts, size),).

    Source: Alon, Matias and Szegedy, "The space complexity of approximating the frequency moments", 1996.
    """
    flat = np.ravel(values)
    count = min(parts, flat.size)
    if not count:
        return np.zeros(0)
    length = math.ceil(flat.size / count)
    signed = np.zeros(count * length)
    signed[: flat.size] = flat * _signs(flat.size)
    return signed.reshape(count, length).sum(axis=1) / math.sqrt(length)


def _signs(count: int) -> Array:
    """Return the first ``count`` signs, from the raw bits of the generator: those no version of NumPy changes."""
    words = np.asarray(np.random.PCG64(_SEED).random_raw(-(-count // 64)), dtype="<u8")
    return np.unpackbits(words.view(np.uint8), count=count, bitorder="little").astype(np.float64) * 2 - 1
