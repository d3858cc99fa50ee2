"""Training curves as a picture: a line for the median of each recipe's runs, a band from the worst to the best."""

import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import InputError, MissingDependencyError
from bnfold.files import atomic_file
from bnfold_cli.work.files import require_distinct, require_file_output

if TYPE_CHECKING:
    from bnfold_cli.work.compare import Comparison, Group

SUFFIXES = (".png", ".svg", ".pdf")

# Colours that eyes without full colour vision tell apart (M. Okabe, K. Ito), then the same as other lines.
_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LINES = ("-", "--", "-.", ":")
_LEGEND_WIDTH = 112
"""Characters of the legend's font that the picture is wide, …"""
_COLUMN = 8
"""… of which each column needs so many for its line and the space around it."""


def require_pictures(paths: Sequence[Path], *, force: bool) -> None:
    """Refuse, before anything is read, pictures that could not be drawn.

    Raises:
        InputError: a suffix that is none of `SUFFIXES`, a file named twice or in the way.
        MissingDependencyError: matplotlib is not installed.
    """
    require_distinct(*paths)
    for path in paths:
        if path.suffix not in SUFFIXES:
            raise InputError(f"{path}: expected a picture, a name that ends with {', '.join(SUFFIXES)}.")
        require_file_output(path, force=force)
        if find_spec("matplotlib") is None:
            raise MissingDependencyError(f"{path}: matplotlib is not installed: pip install 'bnfold[plots]'.")


def draw(comparison: "Comparison", path: Path, title: str | None = None) -> None:
    """Write the picture; the same comparison gives the same bytes."""
    import matplotlib as mpl  # here, since it is heavy and optional
    from matplotlib.figure import Figure

    # Text that can be searched, and ids that do not change from one drawing to the next.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bnfold"}):
        labels = [_label(group) for group in comparison.groups]
        widest = max(len(line) for label in labels for line in label.splitlines())
        columns = max(1, min(len(labels), _LEGEND_WIDTH // (_COLUMN + widest)))
        rows = -(-len(labels) // columns) * max(len(label.splitlines()) for label in labels)
        figure = Figure(figsize=(8, 4.5 + 0.2 * rows), layout="constrained")
        axes = figure.subplots()
        for place, group in enumerate(comparison.groups):
            colour = _COLOURS[place % len(_COLOURS)]
            line = _LINES[place // len(_COLOURS) % len(_LINES)]
            curve = group.over_steps()
            steps = list(curve)
            medians = [value.median for value in curve.values()]
            axes.plot(steps, medians, line, color=colour, linewidth=1.5, label=labels[place])
            if len(group.curves) > 1:
                low, high = ([getattr(value, end) for value in curve.values()] for end in ("low", "high"))
                axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.axhline(comparison.target, color="grey", linewidth=0.8, linestyle=":", zorder=0)
        axes.set_xlabel("steps")
        axes.set_ylabel(f"test {comparison.metric}")
        axes.set_title(title or "")
        axes.grid(color="#dddddd", linewidth=0.5)
        # Below the axes, since inside them it hides curves.
        figure.legend(loc="outside lower center", ncols=columns, fontsize="small", frameon=False)
        dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=120, metadata=dated)


def _label(group: "Group") -> str:
    """Return a recipe's line in the legend, broken where it would be wider than the picture."""
    text = f"{group.name} ({len(group.curves)} runs)" if len(group.curves) > 1 else group.name
    return textwrap.fill(text, _LEGEND_WIDTH - _COLUMN)
