"""Training curves as a picture: a line for the median of each recipe's runs, a band from the worst to the best."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import InputError, MissingDependencyError
from bnfold.files import atomic_file
from bnfold_cli.work.files import require_distinct, require_file_output

if TYPE_CHECKING:
    from bnfold_cli.work.compare import Comparison

SUFFIXES = (".png", ".svg", ".pdf")

# Colours that eyes without full colour vision tell apart (M. Okabe, K. Ito), then the same as other lines.
_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LINES = ("-", "--", "-.", ":")


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
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        for place, group in enumerate(comparison.groups):
            colour = _COLOURS[place % len(_COLOURS)]
            line = _LINES[place // len(_COLOURS) % len(_LINES)]
            curve = group.over_steps()
            steps = list(curve)
            label = f"{group.name} ({len(group.curves)} runs)" if len(group.curves) > 1 else group.name
            axes.plot(steps, [value.median for value in curve.values()], line, color=colour, linewidth=1.5, label=label)
            if len(group.curves) > 1:
                low, high = ([getattr(value, end) for value in curve.values()] for end in ("low", "high"))
                axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.axhline(comparison.target, color="grey", linewidth=0.8, linestyle=":", zorder=0)
        axes.set_xlabel("steps")
        axes.set_ylabel(f"test {comparison.metric}")
        axes.set_title(title or "")
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.legend(fontsize="small", loc="best")
        dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=120, metadata=dated)
