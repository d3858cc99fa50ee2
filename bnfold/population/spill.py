"""What a calibration holds of every batch: in memory up to a budget, beyond it on disk."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from bnfold.errors import InputError

T = TypeVar("T")
Bytes = NDArray[np.uint8]
"""The content of an array or of a tensor's storage, flat."""

MEMORY_BUDGET: Final = 2 << 30
"""Bytes that are held in memory where the user says nothing."""


class Packed(NamedTuple, Generic[T]):
    """A value taken apart: how many bytes each of its buffers has, what reads them, and what puts it together again."""

    sizes: list[int]
    read: Callable[[], Iterable[Bytes]]
    unpack: Callable[[Sequence[Bytes]], T]


class _Spilled(NamedTuple, Generic[T]):
    path: Path
    sizes: list[int]
    unpack: Callable[[Sequence[Bytes]], T]


class States(AbstractContextManager["States[T]"], Generic[T]):
    """Values by number, the sum of whose buffers in memory stays within ``budget`` bytes; the others are on disk.

    Which value is on disk has no influence on its content. The files lie in a temporary directory of their own (see
    ``tempfile``: ``TMPDIR``), which is gone when the ``with`` block ends, however it ends.
    """

    def __init__(self, pack: Callable[[T], Packed[T]], budget: int) -> None:
        self._pack = pack
        self._budget = budget
        self._held: dict[int, tuple[T, int]] = {}
        self._spilled: dict[int, _Spilled[T]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.in_memory = 0
        self.spilled_bytes = 0

    def put(self, key: int, value: T) -> None:
        """Hold ``value``, for one `take`.

        Raises:
            InputError: it does not fit on the disk.
        """
        packed = self._pack(value)
        size = sum(packed.sizes)
        if self.in_memory + size <= self._budget:
            self.in_memory += size
            self._held[key] = value, size
        else:
            self._spilled[key] = self._write(key, packed)
            self.spilled_bytes += size

    def take(self, key: int) -> T:
        """Return the value, which is then held no longer."""
        if key in self._held:
            value, size = self._held.pop(key)
            self.in_memory -= size
            return value
        spilled = self._spilled.pop(key)
        with spilled.path.open("rb") as file:
            buffers = [np.fromfile(file, np.uint8, size) for size in spilled.sizes]
        spilled.path.unlink()
        return spilled.unpack(buffers)

    def _write(self, key: int, packed: Packed[T]) -> "_Spilled[T]":
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="bnfold-calibrate-")
            path = Path(self._folder.name) / f"{key}.bin"
            with path.open("wb") as file:
                for buffer in packed.read():
                    file.write(buffer.data)
        except OSError as error:
            advice = "raise the memory budget, or point TMPDIR to a larger disk"
            where = tempfile.gettempdir()
            raise InputError(f"{where}: could not hold a batch: {error.strerror or error}; {advice}.") from error
        return _Spilled(path, packed.sizes, packed.unpack)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.clear()
        self._spilled.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self


def spill_note(written: int) -> str:
    """Return the sentence that tells how much did not fit into memory, in MiB, at least one."""
    return f"{max(1, round(written / 2**20))} MiB did not fit into the memory budget and went through the disk."
