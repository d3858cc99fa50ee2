"""The histograms of a calibration as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from bnfold.errors import MissingDependencyError
from bnfold.files import atomic_file
from bnfold.population.histograms import Histogram, means, variances
from bnfold.population.report import LayerStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {"moving average": "#9aa5b1", "population": "#0b6e99"}
_ROW_HEIGHT: Final = 1.5
"""Inches a layer."""


def draw(layers: Sequence[LayerStatistics], path: Path) -> None:
    """Write a PNG: a row for each layer, means on the left, variances on the right.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        InputError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib is not installed: pip install 'bnfold[plots]'.") from error
    figure = Figure(figsize=(9, 0.8 + _ROW_HEIGHT * len(layers)), layout="constrained")
    rows = figure.subplots(len(layers), 2, squeeze=False)
    for (left, right), layer in zip(rows, layers, strict=True):
        _fill(left, means(layer))
        _fill(right, variances(layer))
        _scale_by_ratios(right, variances(layer))
        left.set_ylabel(layer.name, rotation=0, ha="right", va="center")
    rows[0][0].set_title("mean")
    rows[0][1].set_title("variance")
    figure.legend(*rows[0][0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    figure.suptitle("Channels by their statistics", x=0.01, ha="left", fontsize="medium")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _scale_by_ratios(axes: "Axes", histogram: Histogram) -> None:
    """Make the axis logarithmic, with four labels; matplotlib's own overlap where a layer's variances lie close."""
    first, last = float(histogram.edges[0]), float(histogram.edges[-1])
    if first > 0:
        axes.set_xscale("log")
        ticks = np.geomspace(first, last, 4)
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.minorticks_off()


def _fill(axes: "Axes", histogram: Histogram) -> None:
    from matplotlib.ticker import MaxNLocator

    before, after = _COLOURS.items()
    axes.stairs(histogram.moving_average, histogram.edges, fill=True, color=before[1], label=before[0])
    axes.stairs(histogram.population, histogram.edges, color=after[1], linewidth=1.6, label=after[0])
    axes.tick_params(labelsize=7)
    axes.margins(x=0.02)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
