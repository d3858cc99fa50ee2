"""Calibration by several processes: each measures its own samples, all get the same statistics.

Under an initialized ``torch.distributed`` group, gloo on CPUs and NCCL on GPUs, every process calls ``calibrate`` with
batches of its own. What they exchange is counts and moments, a few numbers a channel.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from torch import distributed
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, Sampler

from bnfold.errors import BnfoldError, InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """How many processes there are, and which of them this one is."""

    size: int
    rank: int

    @classmethod
    def found(cls, *, distributed_group: bool = True) -> "Processes":
        """Return those of the default group, or this process alone where there is none or it is not to be used."""
        if distributed_group and distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_world_size(), distributed.get_rank())
        return cls(1, 0)

    def gather(self, compute: Callable[[], T]) -> list[T]:
        """Return what ``compute`` comes to in every process, by rank; if it raises in one, all raise.

        Raises:
            InputError: another process failed; the message is its.
        """
        if self.size == 1:
            return [compute()]
        try:
            mine = compute()
        except Exception as error:
            kind = "" if isinstance(error, BnfoldError) else f"{type(error).__name__}: "
            self._exchange((None, f"{kind}{error}"))
            raise
        answers = self._exchange((mine, None))
        for rank, (_, failure) in enumerate(answers):
            if failure is not None:
                raise InputError(f"process {rank} of {self.size} failed: {failure}")
        return [answer for answer, _ in answers]

    def agree(self, compute: Callable[[], T]) -> T:
        """Return what ``compute`` comes to in this process, which need not be sent; if it raises in one, all raise.

        Raises:
            InputError: another process failed; the message is its.
        """
        mine: list[T] = []
        self.gather(lambda: mine.append(compute()))
        return mine[0]

    def total(self, numbers: Sequence[int]) -> list[int]:
        """Return the sums of ``numbers`` over all processes."""
        return [sum(column) for column in zip(*self.gather(lambda: numbers), strict=True)]

    def _exchange(self, answer: tuple[Any, str | None]) -> list[tuple[Any, str | None]]:
        answers: list[Any] = [None] * self.size
        distributed.all_gather_object(answers, answer)
        return answers


def each_sample_once(batches: Iterable[object]) -> Iterable[object]:
    """Return ``batches`` without the samples that a ``DistributedSampler`` gives twice.

    The sampler repeats samples so that all processes get equally many: rank r of R gets the positions r, r + R, … of
    the samples in their order with repetitions behind, and those from N on are repetitions. A ``DataLoader`` over such
    a sampler is made anew with the positions below N; everything else is returned as it is.
    """
    if not isinstance(batches, DataLoader) or batches.batch_size is None:
        return batches
    sampler: object = batches.sampler
    if not isinstance(sampler, DistributedSampler) or sampler.drop_last:
        return batches
    batch_sampler = BatchSampler(_WithoutRepetitions(sampler), batches.batch_size, batches.drop_last)
    return DataLoader(
        batches.dataset,
        batch_sampler=batch_sampler,
        num_workers=batches.num_workers,
        collate_fn=batches.collate_fn,
        pin_memory=batches.pin_memory,
        timeout=batches.timeout,
        worker_init_fn=batches.worker_init_fn,
        multiprocessing_context=batches.multiprocessing_context,
        generator=batches.generator,
    )


class _WithoutRepetitions(Sampler[int]):
    """The positions of a ``DistributedSampler`` that are not repetitions."""

    def __init__(self, sampler: "DistributedSampler[Any]") -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[int]:
        return islice(iter(self._sampler), len(self))

    def __len__(self) -> int:
        size = len(self._sampler.dataset)  # pyright: ignore[reportArgumentType]  # a sampler's data set has a length
        return len(range(self._sampler.rank, size, self._sampler.num_replicas))
