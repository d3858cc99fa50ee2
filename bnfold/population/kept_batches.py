"""Batches that are read once and given as often as needed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from torch import Tensor
from torch.utils import _pytree as pytree

from bnfold.population.arguments import told_samples
from bnfold.population.spill import States
from bnfold.population.tensor_states import own_storage, pack_tensors


class KeptBatches(AbstractContextManager["KeptBatches"]):
    """The first so many batches of an iterator, each read once, so that data drawn by chance stays the same.

    What does not fit into ``memory_budget`` bytes waits on disk, see `States`. Every iteration gives copies: a model
    may write to its inputs.
    """

    def __init__(self, batches: Iterator[object], memory_budget: int) -> None:
        self._batches = batches
        self._states = States[object](pack_tensors(), memory_budget)
        self._count = 0
        self.samples = 0
        self.exhausted = False

    def read(self, count: int | None = None) -> None:
        """Read until there are ``count`` batches, or to the end; then ``exhausted`` tells that there are no more."""
        while not self.exhausted and (count is None or self._count < count):
            for batch in self._batches:
                self._states.put(self._count, own_storage(batch))
                self._count += 1
                self.samples += told_samples(batch)
                break
            else:
                self.exhausted = True

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[object]:
        for index in range(self._count):
            batch = self._states.take(index)
            copy = pytree.tree_map_only(Tensor, Tensor.clone, batch)
            self._states.put(index, batch)
            yield copy

    def __enter__(self) -> Self:
        self._states.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._states.__exit__(kind, error, trace)
