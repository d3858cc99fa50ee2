"""How long work reports progress: a callable, so that the library never draws anything itself."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable as ``tqdm`` would; the command line passes one that draws a bar on stderr."""

    def __call__(
        self,
        items: Iterable[T],
        *,
        description: str,
        total: int | None = None,
        samples: Callable[[T], float] | None = None,
    ) -> Iterator[T]:
        """Yield the items of ``items``; ``total`` is their number where it is known.

        With ``samples``, which says how many samples an item stands for, samples are counted, in ``total`` too.
        """
        ...


def silent(
    items: Iterable[T],
    *,
    description: str,  # noqa: ARG001  (the protocol's names)
    total: int | None = None,  # noqa: ARG001
    samples: Callable[[T], float] | None = None,  # noqa: ARG001
) -> Iterator[T]:
    """Yield the items and report nothing: the library's default."""
    yield from items


@contextmanager
def counting(progress: Progress, *, description: str, total: int | None) -> Generator[Callable[[float], None]]:
    """Yield what to tell of samples that are done, where no one loop goes over all of them.

    Args:
        progress: told of them.
        description: of the work.
        total: samples in all, where it is known.
    """
    done: list[float] = []

    def tell() -> Iterator[float]:
        while True:
            yield done.pop()

    told = progress(tell(), description=description, total=total, samples=lambda samples: samples)

    def advance(samples: float) -> None:
        done.append(samples)
        next(told)

    # A generator, whose end takes its bar away; where it is none, there is nothing to close.
    with closing(told) if isinstance(told, Generator) else nullcontext():
        yield advance
