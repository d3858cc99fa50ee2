"""The two kinds of table that all results are made of, and how figures look in them."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table

_UNITS = ("B", "kB", "MB", "GB")
_PROSE_WIDTH = 64
_SHARES = frozenset({"accuracy", "top-5", "mean-iou"})


def figures(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, narrow: bool = False
) -> Table:
    """Return a table of a name and right-aligned figures; names that do not fit are folded, never cut.

    With ``narrow``, columns of figures take no more than they need, for tables whose names are long.
    """
    table = _table(title)
    table.collapse_padding = narrow
    first, *others = headers
    table.add_column(first, overflow="fold")
    for header in others:
        table.add_column(header, justify="right", overflow="fold", no_wrap=narrow)
    return _filled(table, rows)


def texts(headers: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> Table:
    """Return a table of names whose last column is prose: that one wraps also where the line could be any length."""
    rows = list(rows)
    table = _table(title)
    *names, prose = headers
    for header in names:
        table.add_column(header, overflow="fold")
    longest_word = max((len(word) for row in rows for word in row[-1].split()), default=0)
    table.add_column(prose, overflow="fold", max_width=max(_PROSE_WIDTH, longest_word))
    return _filled(table, rows)


def count(value: float) -> str:
    """Return a whole number as it is, any other with three digits."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def size(octets: float) -> str:
    """Return a number of bytes in decimal units."""
    power = 0
    while octets >= 1000 and power < len(_UNITS) - 1:
        octets, power = octets / 1000, power + 1
    return f"{octets:.0f} B" if power == 0 else f"{octets:.3g} {_UNITS[power]}"


def error(value: float) -> str:
    """Return an error as its power of ten is what matters."""
    return f"{value:.1e}"


def percent(share: float) -> str:
    """Return a share in percent, two digits after the point as accuracies are compared."""
    return f"{100 * share:.2f} %"


def metric(name: str, value: float) -> str:
    """Return a metric as its kind is read: a share in percent, anything else as a number."""
    return percent(value) if name in _SHARES else f"{value:.4f}"


def milliseconds(seconds: float) -> str:
    """Return a duration in milliseconds, three digits."""
    return f"{1000 * seconds:.3g} ms"


def _table(title: str | None) -> Table:
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, title=title, title_justify="left", title_style="bold", pad_edge=False
    )


def _filled(table: Table, rows: Iterable[Sequence[str]]) -> Table:
    for row in rows:
        table.add_row(*row)
    return table
