"""Progress bars on stderr: description, bar, count, rate and time left."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")


class RateColumn(ProgressColumn):
    """Items or samples per second, or seconds for each where that is the readable one."""

    def render(self, task: Task) -> Text:
        """Return the rate, blank until there is one."""
        rate = task.speed
        if not rate:
            return Text("")
        unit, digits = task.fields["unit"], 1 if rate < 100 else 0
        text = f"{rate:.{digits}f}{unit}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        return Text(text, style="progress.data.speed")


class Bars:
    """A ``bnfold.progress.Progress`` that draws on a terminal; nested loops become bars below one another.

    The display is there while a loop runs; ``close`` takes it off the screen after a loop that an exception has left.
    """

    def __init__(self, console: Console) -> None:
        self._display = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            transient=True,
        )

    def __call__(
        self,
        items: Iterable[T],
        *,
        description: str,
        total: int | None = None,
        samples: Callable[[T], float] | None = None,
    ) -> Iterator[T]:
        """Yield the items; ``total`` is ``len(items)`` where it is not given and there is one."""
        if total is None and samples is None and isinstance(items, Sized):
            total = len(items)
        self._display.start()
        task = self._display.add_task(description, total=total, unit="" if samples is None else " samples")
        try:
            for item in items:
                yield item
                self._display.advance(task, 1 if samples is None else samples(item))
        finally:
            self._display.remove_task(task)
            if not self._display.task_ids:
                self._display.stop()

    def close(self) -> None:
        """Take the bars off the screen."""
        self._display.stop()
