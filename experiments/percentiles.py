"""Figures 1b and 1c: the input of a sigmoid of the last hidden layer over the steps, without and with BN."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bnfold.files import atomic_file
from experiments.plan import FIGURE_1
from experiments.training import PERCENTILES_FILE, run_folder


def draw_percentiles(root: Path, path: Path, seed: int = 0) -> None:
    """Write the picture of one seed: a panel a network, a line a percentile."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bnfold"}):
        figure = Figure(figsize=(9, 4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, trial in zip(panels, FIGURE_1, strict=True):
            seen: dict[str, Any] = json.loads((run_folder(root, trial, seed) / PERCENTILES_FILE).read_text())
            steps = [line["step"] for line in seen["steps"]]
            for place, (percentile, colour) in enumerate(
                zip(seen["of"], ("#0072b2", "#000000", "#d55e00"), strict=True)
            ):
                values = [line["percentiles"][place] for line in seen["steps"]]
                axes.plot(steps, values, color=colour, linewidth=1.5, label=f"{percentile}th percentile")
            axes.set_title(trial.name.replace("-", " "))
            axes.set_xlabel("steps")
            axes.grid(color="#dddddd", linewidth=0.5)
        panels[0].set_ylabel("input of a sigmoid of the last hidden layer")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
        dated = {".svg": {"Date": None}}.get(path.suffix)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=120, metadata=dated)


def drift(root: Path, seed: int) -> dict[str, dict[str, float]]:
    """Return, by network, how far the median moved over the steps, and the mean distance of the outer percentiles."""
    found: dict[str, dict[str, float]] = {}
    for trial in FIGURE_1:
        seen = json.loads((run_folder(root, trial, seed) / PERCENTILES_FILE).read_text())
        rows = [line["percentiles"] for line in seen["steps"]]
        medians = [row[1] for row in rows]
        found[trial.name] = {
            "median moved": max(medians) - min(medians),
            "first spread": rows[0][2] - rows[0][0],
            "last spread": rows[-1][2] - rows[-1][0],
        }
    return found
