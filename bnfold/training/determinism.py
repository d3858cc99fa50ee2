"""The same bits each time: torch kept to algorithms that give them, for a block."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch

from bnfold.errors import InputError

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic(*, wanted: bool) -> Generator[None]:
    """Allow only deterministic algorithms in the block if ``wanted``; afterwards everything is as before.

    On the CPU sums also depend on the number of threads, which the run's record keeps. cuBLAS reads its own setting
    when it starts, so a process that has used CUDA before has to have set it (``CUBLAS_WORKSPACE_CONFIG=:4096:8``).

    Raises:
        InputError: an operation in the block has no deterministic algorithm.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    os.environ.setdefault(_CUBLAS, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        words = str(error).split(".")[0]
        raise InputError(f"deterministic: {words}; train without it, or change the model.") from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark
