"""A bench as a picture: time a call beside the ratio to the first model, a row a setting and model."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.bench.report import BenchReport, Measurement
from bnfold.bench.spread import Spread
from bnfold.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")

_INCHES_A_ROW = 0.34


def require_plot(path: Path) -> None:
    """Refuse, before anything is measured, a picture that could not be drawn.

    Raises:
        InputError: the suffix is none of `SUFFIXES`.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a picture, a name that ends with {', '.join(SUFFIXES)}.")
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(f"{path}: matplotlib is not installed: pip install 'bnfold[plots]'.")


def draw(report: BenchReport, path: Path) -> None:
    """Write the picture; lines reach from quartile to quartile, the grey band is the first model over itself."""
    from matplotlib.figure import Figure  # here, since it is heavy and optional
    from matplotlib.ticker import LogLocator, NullLocator

    rows = sum(len(measurement.seconds) + 1 for measurement in report.measurements)
    figure = Figure(figsize=(10, 1.4 + _INCHES_A_ROW * rows), layout="constrained")
    times, over = figure.subplots(1, 2, sharey=True)
    ticks: dict[float, str] = {}
    top = 0.0
    for measurement in report.measurements:
        top -= 1
        ticks[top] = str(measurement.setting)
        _control(over, measurement, top)
        for index, (name, seconds) in enumerate(measurement.seconds.items()):
            top -= 1
            ticks[top] = name
            _point(times, top, Spread(*(1000 * figure for figure in _figures(seconds))), index)
            pair = measurement.over_first(name)
            if pair is not None:
                _point(over, top, pair.ratio, index)
    times.set_yticks(list(ticks), list(ticks.values()))
    times.set_xscale("log")
    times.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    times.xaxis.set_major_formatter("{x:g}")
    times.xaxis.set_minor_locator(NullLocator())
    times.set_xlabel("milliseconds a call (median, quartiles)")
    over.axvline(1, color="black", linewidth=0.8)
    over.set_xlabel(f"time over that of {next(iter(report.models))}")
    for axes in (times, over):
        axes.grid(axis="x", linewidth=0.4)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, dpi=150)


def _figures(spread: Spread) -> tuple[float, ...]:
    return (spread.lowest, spread.lower_quartile, spread.median, spread.upper_quartile, spread.highest)


def _point(axes: "Axes", row: float, spread: Spread, index: int) -> None:
    color = f"C{index}"
    axes.plot([spread.lower_quartile, spread.upper_quartile], [row, row], color=color, linewidth=3, alpha=0.5)
    axes.plot([spread.median], [row], "o", color=color)


def _control(axes: "Axes", measurement: Measurement, row: float) -> None:
    control = measurement.control
    axes.barh(
        row - (len(measurement.seconds) + 1) / 2,
        control.interquartile,
        left=control.lower_quartile,
        height=len(measurement.seconds),
        color="0.88",
        zorder=0,
    )
