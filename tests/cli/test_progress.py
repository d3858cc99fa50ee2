import io
import re
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from bnfold.progress import counting
from bnfold_cli.progress import Bars


def _bars() -> tuple[Bars, io.StringIO]:
    stream = io.StringIO()
    return Bars(Console(file=stream, force_terminal=True, width=80, color_system=None)), stream


def test_bars_pass_every_item_through() -> None:
    """Nested loops yield what they would without bars, and both are drawn, with counts."""
    bars, stream = _bars()
    seen = [
        (epoch, batch) for epoch in bars(range(2), description="epochs") for batch in bars("ab", description="batches")
    ]
    bars.close()
    assert seen == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    assert "epochs" in stream.getvalue()
    assert "/2" in stream.getvalue()


def test_the_cursor_comes_back() -> None:
    """After an exception inside a loop, ``close`` shows the cursor again and clears the bar."""
    bars, stream = _bars()

    def work() -> None:
        for _ in bars(range(3), description="batches"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    bars.close()
    assert stream.getvalue().endswith("\x1b[2K\x1b[?25h\r")


def test_unknown_length_is_drawn() -> None:
    """A generator without a total gets a bar without an end."""

    def items() -> Iterator[int]:
        yield from (1, 2)

    bars, stream = _bars()
    assert list(bars(items(), description="samples")) == [1, 2]
    bars.close()
    assert "/?" in stream.getvalue()


def test_samples_are_counted() -> None:
    """Items that stand for several samples, and work that no one loop covers: samples, and how many a second."""
    bars, stream = _bars()
    for _ in bars(range(3), description="batches", total=192, samples=lambda _: 64):
        time.sleep(0.15)  # more than the tenth of a second after which a bar is drawn anew
    with counting(bars, description="layers", total=512) as advance:
        for _ in range(3):
            advance(128)
            time.sleep(0.15)
    bars.close()
    assert re.search(r"batches .* 128/192 +[\d.]+ samples/s", stream.getvalue())
    assert re.search(r"layers .* 256/512 +[\d.]+ samples/s", stream.getvalue())
