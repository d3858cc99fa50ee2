"""Every random state that a model may draw on: torch's on CPU and CUDA, Python's and NumPy's global ones."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """States as their owners give them: ``python`` and ``numpy`` fit for JSON, ``cuda`` None before its first use."""

    torch: Tensor
    cuda: Tensor | None
    python: list[Any]
    numpy: list[Any]


def capture() -> RandomState:
    """Return the present states."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  (what models of others draw on)
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    return RandomState(
        torch=torch.get_rng_state(),
        cuda=cuda,
        python=[version, list(words), gauss],
        numpy=[name, [int(key) for key in keys], position, has_gauss, cached],
    )


def restore(state: RandomState) -> None:
    """Put all states back to what `capture` returned."""
    torch.set_rng_state(state.torch)
    if state.cuda is not None:
        torch.cuda.set_rng_state(state.cuda)
    version, words, gauss = state.python
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state.numpy
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002  (as above)


def seed(value: int) -> None:
    """Seed all states."""
    torch.manual_seed(value)
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002  (as above)


def seed_replica(value: int, rank: int) -> None:
    """Seed all states for one of several processes, each its own: equal noise on all of them would not be random."""
    seed(int(np.random.SeedSequence([value, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


@contextmanager
def isolated(value: int) -> Generator[None]:
    """Seed all states by ``value`` for the block; the caller's own go on afterwards as if nothing had been drawn."""
    before = capture()
    seed(value)
    try:
        yield
    finally:
        restore(before)
