"""Models side by side: a table a setting, what it takes to start them, and where the time goes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import count, figures, milliseconds, size

if TYPE_CHECKING:
    from bnfold.bench import BenchReport
    from bnfold.bench.report import Measurement, Startup
    from bnfold.bench.setting import Setting
    from bnfold.bench.spread import Spread

OPERATORS = 12
"""Operators that are listed; the rest is in the report."""


def measured(report: "BenchReport") -> Iterator[Table | str]:
    """Yield a table for every setting, one on starts, one of operators, and what can be said of each pair."""
    for measurement in report.measurements:
        yield latency(measurement)
        yield from (pair.words for pair in measurement.pairs)
    if report.startups:
        yield startups(report)
    for setting in dict.fromkeys(profile.setting for profile in report.profiles):
        yield operators(report, setting)


def latency(measurement: "Measurement") -> Table:
    """Return time, ratio to the first model and throughput of every model in one setting."""
    rows = []
    for name, seconds in measurement.seconds.items():
        pair = measurement.over_first(name)
        ratio = ("1", "") if pair is None else (f"{pair.ratio.median:.3f}", _quartiles(pair.ratio))
        throughput = f"{measurement.throughput(name):.4g}"
        rows.append((name, milliseconds(seconds.median), _range(seconds), *ratio, throughput))
    headers = (str(measurement.setting), "median", "range", "ratio", "quartiles", "samples/s")
    return figures(headers, rows)


def startups(report: "BenchReport") -> Table:
    """Return what it takes to load every model and to call it for the first time."""
    rows = [
        (
            f"{startup.model} on {startup.provider}",
            milliseconds(startup.load.median),
            milliseconds(startup.first_call.median),
            _memory(startup),
        )
        for startup in report.startups
    ]
    return figures(("start in a process of its own", "load", "first call", "peak memory"), rows)


def operators(report: "BenchReport", setting: "Setting") -> Table:
    """Return the time by operator of every model, the longest of all first."""
    profiles = [profile for profile in report.profiles if profile.setting == setting]
    times = {profile.model: {time.operator: time for time in profile.operators} for profile in profiles}
    names = {operator for own in times.values() for operator in own}
    longest = {name: max(own[name].seconds for own in times.values() if name in own) for name in names}
    order = sorted(names, key=lambda name: (-longest[name], name))[:OPERATORS]
    rows = []
    for name in order:
        own = [times[profile.model].get(name) for profile in profiles]
        rows.append((name, *(f"{milliseconds(t.seconds)} ({count(t.kernels)})" if t else "-" for t in own)))
    return figures((f"time (kernels), {setting}", *(profile.model for profile in profiles)), rows)


def _range(spread: "Spread") -> str:
    return f"{1000 * spread.lowest:.3g} – {milliseconds(spread.highest)}"


def _quartiles(spread: "Spread") -> str:
    return f"{spread.lower_quartile:.3f} – {spread.upper_quartile:.3f}"


def _memory(startup: "Startup") -> str:
    return "-" if startup.memory is None else size(startup.memory.median)
