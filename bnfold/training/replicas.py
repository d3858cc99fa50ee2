"""The processes of one training, each a replica of the network: found in torchrun's environment, empty without it.

Sums over replicas are how everything that is measured stays one number; only the first replica writes and speaks.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

import torch
from torch import Tensor, distributed

from bnfold.errors import BnfoldError, InputError

T = TypeVar("T")


class ProcessLostError(BnfoldError):
    """Another process of the training ended before its time."""


@dataclass(frozen=True)
class Replicas:
    """Which of the processes this is.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        device: what exchanged tensors have to lie on: CUDA for NCCL.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over replicas, on the CPU in float64."""
        if self.size == 1:
            return values.detach().to("cpu", torch.float64)
        total = values.detach().to(self.device, torch.float64, copy=True)
        distributed.all_reduce(total)
        return total.cpu()

    def any(self, found: bool) -> bool:
        """Return whether it was found in one replica at least."""
        return found if self.size == 1 else bool(self.sum(torch.tensor([float(found)])) > 0)

    def gather(self, value: T) -> list[T]:
        """Return every replica's value, in the order of their numbers; anything that pickles."""
        if self.size == 1:
            return [value]
        every: list[T | None] = [None] * self.size
        distributed.all_gather_object(every, value)
        return every  # pyright: ignore[reportReturnType]  (filled by the line before)

    def wait(self) -> None:
        """Return when all replicas have come here."""
        self.sum(torch.zeros(1))

    def share(self, samples: int) -> slice:
        """Return which of consecutive samples are this replica's; shares differ by at most one."""
        whole, rest = divmod(samples, self.size)
        start = self.rank * whole + min(self.rank, rest)
        return slice(start, start + whole + (self.rank < rest))


def rank_of_this_process() -> int:
    """Return the number that torchrun gave this process; 0 without it."""
    return _number("RANK", 0)


def local_rank_of_this_process() -> int:
    """Return its number on this machine; 0 without torchrun."""
    return _number("LOCAL_RANK", 0)


def processes() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return _number("WORLD_SIZE", 1)


RESUME: Final = (
    "the run is as its last checkpoint left it: start it again with --resume, with as many processes as you like"
)
"""What to do about a training that lost a process."""


@contextmanager
def joined(device: torch.device, *, work: str = "training", advice: str = RESUME) -> Generator[Replicas]:
    """Meet the other processes for the block: over gloo on CPUs, NCCL on CUDA.

    A process that is a member of an initialized group already stays in it.

    Args:
        device: what exchanged tensors have to lie on.
        work: what the processes do together, for the message when one of them is lost.
        advice: what to do then.

    Raises:
        InputError: the environment names other processes, but not how to meet them.
        ProcessLostError: one of them ended inside the block.
    """
    size = processes()
    if distributed.is_available() and distributed.is_initialized():
        with _losses_named(work, advice):
            yield Replicas(distributed.get_rank(), distributed.get_world_size(), device)
        return
    if size == 1:
        yield Replicas(device=device)
        return
    with _losses_named(work, advice):
        _meet(device, size)
        yield Replicas(rank_of_this_process(), size, device)
        # Not after an exception: its frames may hold what must be gone by now, see `Session.close`.
        distributed.destroy_process_group()


def _meet(device: torch.device, size: int) -> None:
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            f"WORLD_SIZE is {size}, but {', '.join(missing)} is not set; start with torchrun, or unset it."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


@contextmanager
def _losses_named(work: str, advice: str) -> Generator[None]:
    """Turn what a broken connection raises into the words that help."""
    try:
        yield
    except RuntimeError as error:
        if not is_lost_connection(error):
            raise
        raise ProcessLostError(
            f"another process of the {work} ended (killed, out of memory, or with an error of its own); {advice}."
        ) from error


def is_lost_connection(error: Exception) -> bool:
    """Return whether an exception says that another process is gone; gloo has no type of its own for it."""
    return isinstance(error, distributed.DistError) or any(sign in str(error) for sign in _SIGNS)


_SIGNS = ("gloo", "Gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise InputError(f"environment variable {name}: expected a number as torchrun sets it, found {text!r}.")
    return int(text)
