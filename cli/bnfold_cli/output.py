"""Where a command's words go: results on stdout, progress and notes on stderr."""

import os
import sys
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from bnfold.errors import InputError
from bnfold.json_text import json_text
from bnfold.progress import Progress, silent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bnfold_cli.progress import Bars

PIPED_WIDTH = 10_000
"""Columns of a pipe or a file: no name is cut or wrapped there, and a table takes the width that it needs."""


class Output:
    """The two streams of one command; a context manager that owns both while the command runs.

    Inside it, whatever else prints (a model's own file, torch's exporter) lands on stderr, so that stdout holds the
    result and nothing else; at its end no progress bar is left on the screen.

    Args:
        command: name of the command, told in its JSON document.
        as_json: stdout gets one JSON object in place of tables.
        quiet: stderr gets errors only.
    """

    def __init__(self, command: str, *, as_json: bool = False, quiet: bool = False) -> None:
        self._command = command
        self._as_json = as_json
        self._quiet = quiet
        self._bars: Bars | None = None
        self._stdout = sys.stdout
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(redirect_stdout(sys.stderr))
        self._stack.enter_context(warnings.catch_warnings())
        # What other distributions warn about is not for the user of a command; what bnfold does is told in a line.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module="bnfold")
        warnings.showwarning = self._show_warning
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_bars()
        self._stack.close()

    @property
    def progress(self) -> Progress:
        """Bars where stderr is a terminal and ``--quiet`` is not given, else silence."""
        if self._quiet or not sys.stderr.isatty():
            return silent
        if self._bars is None:
            from rich.console import Console

            from bnfold_cli.progress import Bars

            self._bars = Bars(Console(stderr=True))
        return self._bars

    def note(self, text: str) -> None:
        """Tell something on stderr that is not part of the result."""
        if not self._quiet:
            sys.stderr.write(f"{text}\n")

    def result(self, document: Mapping[str, object], tables: "Iterable[RenderableType]") -> None:
        """Print ``document`` as JSON or else ``tables``; a generator of tables runs only where it is shown."""
        self._close_bars()
        if self._as_json:
            write(self._stdout, json_text({"schema": f"bnfold.{self._command}/1", **document}))
        else:
            with _writing(self._stdout):  # rich writes its own end of the capture
                text = _text(tables, self._stdout)
                write(self._stdout, text)

    def _close_bars(self) -> None:
        if self._bars is not None:
            self._bars.close()

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],  # noqa: ARG002  (the signature of warnings.showwarning, as those below)
        filename: str,  # noqa: ARG002
        lineno: int,  # noqa: ARG002
        file: TextIO | None = None,  # noqa: ARG002
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        self.note(f"warning: {message}")


def write(stream: TextIO, text: str) -> None:
    """Write all of ``text`` now; a reader that has left (``| head``) changes neither the work nor the exit code.

    Raises:
        InputError: the stream leads to a file on a full disk, say.
    """
    with _writing(stream):
        stream.write(text)
        stream.flush()


@contextmanager
def _writing(stream: TextIO) -> Generator[None]:
    try:
        yield
    except BrokenPipeError:
        _flush_nowhere(stream)
    except OSError as error:
        _flush_nowhere(stream)
        raise InputError(f"standard output could not be written: {error.strerror or error}.") from error


def _flush_nowhere(stream: TextIO) -> None:
    """Give Python somewhere to flush to: it does so once more at exit, and would complain there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _text(tables: "Iterable[RenderableType]", stream: TextIO) -> str:
    from rich.console import Console

    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    previous: RenderableType = ""
    with console.capture() as capture:
        for index, table in enumerate(tables):
            if index and not (isinstance(table, str) and isinstance(previous, str)):
                console.print()
            console.print(table)
            previous = table
    text = capture.get()
    return text if stream.isatty() else "".join(f"{line.rstrip()}\n" for line in text.splitlines())
