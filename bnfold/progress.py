"""How long work reports progress: a callable, so that the library never draws anything itself."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable as ``tqdm`` would; the command line passes one that draws a bar on stderr."""

    def __call__(self, items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:
        """Yield the items of ``items``; ``total`` is their number where it is known."""
        ...


def silent(items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:  # noqa: ARG001  (the protocol's names)
    """Yield the items and report nothing: the library's default."""
    yield from items
