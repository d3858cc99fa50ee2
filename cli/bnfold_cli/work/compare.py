"""``bnfold compare``: the measurements of several runs, those of one recipe together."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnfold.errors import InputError
from bnfold_cli.work.curves import draw, require_pictures
from bnfold_cli.work.sources import require_torch

LOSS = "loss"
ACCURACY = "accuracy"
_SMALL = frozenset({LOSS, "perplexity", "mean-absolute-error"})
"""Measures of bnfold's own of which small values are good."""
_CHANCE = frozenset({"seed", "device", "deterministic", "compile", "channels_last"})
_LOOKED_AT = frozenset({"metrics", "evaluate_every", "population_statistics", "monitor", "keep"})
"""Hyperparameters that two runs of one recipe may differ in: nothing but rounding and chance, or what is measured when.
"""
_HASHES = ("model's file", "data's content")
_LONGEST = 32
"""Characters of a value in a name."""


@dataclass(frozen=True)
class Curve:
    """One run: the values of the metric by step, ascending."""

    folder: Path
    values: Mapping[int, float]
    lower_is_better: bool

    @property
    def best(self) -> float:
        """The best value."""
        return (min if self.lower_is_better else max)(self.values.values())

    def steps_to(self, target: float) -> float:
        """Return the first step at which the value is as good as ``target``, infinity for none."""
        reached = (step for step, value in self.values.items() if _as_good(value, target, self.lower_is_better))
        return next(reached, math.inf)


@dataclass(frozen=True)
class Range:
    """The median of some values, the smallest and the largest; infinite ones stand for what was never reached."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """Return that of ``values``."""
        return cls(
            statistics.median_high(values) if math.inf in values else statistics.median(values),
            min(values),
            max(values),
        )

    def to_dict(self) -> dict[str, float]:
        """Return it as JSON-able data; infinities become null."""
        return {"median": self.median, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Group:
    """The runs of one recipe, and what sets the recipe apart."""

    name: str
    curves: tuple[Curve, ...]

    @property
    def best(self) -> Range:
        """Best values of the runs."""
        return Range.of([curve.best for curve in self.curves])

    def steps_to(self, target: float) -> Range:
        """Steps to a value."""
        return Range.of([curve.steps_to(target) for curve in self.curves])

    def reached(self, target: float) -> int:
        """Return how many runs got there."""
        return sum(math.isfinite(curve.steps_to(target)) for curve in self.curves)

    def over_steps(self) -> dict[int, Range]:
        """Return the range over the runs at each step that all of them were measured at."""
        common = set[int].intersection(*(set(curve.values) for curve in self.curves))
        return {step: Range.of([curve.values[step] for curve in self.curves]) for step in sorted(common)}


@dataclass(frozen=True)
class Comparison:
    """The recipes in the order of their first runs."""

    metric: str
    target: float
    groups: tuple[Group, ...]
    plots: tuple[Path, ...]

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "metric": self.metric,
            "target": self.target,
            "plots": [str(path) for path in self.plots],
            "recipes": [
                {
                    "name": group.name,
                    "runs": [str(curve.folder) for curve in group.curves],
                    "best": group.best.to_dict(),
                    "reached": group.reached(self.target),
                    "steps": group.steps_to(self.target).to_dict(),
                    "curve": [{"step": step, **value.to_dict()} for step, value in group.over_steps().items()],
                }
                for group in self.groups
            ],
        }


def compare(
    runs: Sequence[Path],
    *,
    metric: str | None = None,
    target: float | None = None,
    lower_is_better: bool = False,
    title: str | None = None,
    plots: Sequence[Path] = (),
    force: bool = False,
) -> Comparison:
    """Return what the runs came to, and draw their curves.

    Args:
        runs: run folders, finished or not.
        metric: ``loss`` or a metric; None for the accuracy, the loss where a run has none.
        target: steps are counted to it; None for the median of the best values of the first run's recipe.
        lower_is_better: of a metric that bnfold does not know.
        title: of the picture.
        plots: files to draw, the suffix tells how.
        force: replace files that exist.

    Raises:
        InputError: no run, one without measurements, or without this metric; a file is in the way.
        MissingDependencyError: torch, or for ``plots`` matplotlib, is not installed.
    """
    require_torch("compare")
    require_pictures(plots, force=force)
    from bnfold.training.record import read_record

    if not runs:
        raise InputError("compare: no runs; name one run folder at least.")
    records = {folder: read_record(folder) for folder in runs}
    measured = {folder: _measurements(folder) for folder in records}
    metric = metric or _common_metric(measured.values())
    lower = lower_is_better or metric in _SMALL
    curves = {folder: Curve(folder, _values(folder, lines, metric), lower) for folder, lines in measured.items()}
    groups = _grouped(records, curves)
    goal = groups[0].best.median if target is None else target
    comparison = Comparison(metric, goal, groups, tuple(plots))
    for path in plots:
        draw(comparison, path, title)
    return comparison


def _as_good(value: float, target: float, lower_is_better: bool) -> bool:
    return value <= target if lower_is_better else value >= target


def _measurements(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's ``metrics.jsonl``; a last one that a kill cut short is left out."""
    from bnfold.training.run import METRICS

    path = folder / METRICS
    try:
        *whole, _ = path.read_text(encoding="utf-8").split("\n")
        lines = [json.loads(line) for line in whole]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable: {error}; the run is damaged.") from error
    if not lines:
        raise InputError(f"{folder}: has no measurement yet; train it further.")
    return lines


def _common_metric(measured: Iterable[list[dict[str, Any]]]) -> str:
    return ACCURACY if all(ACCURACY in (lines[0].get("metrics") or {}) for lines in measured) else LOSS


def _values(folder: Path, lines: list[dict[str, Any]], metric: str) -> dict[int, float]:
    values: dict[int, float] = {}
    for line in lines:
        known = {LOSS: line["test_loss"], **(line.get("metrics") or {})}
        if metric not in known:
            raise InputError(f"{folder}: no metric {metric!r}; it has {', '.join(known)}. Choose one with --metric.")
        values[line["step"]] = float(known[metric])
    return values


def _grouped(records: Mapping[Path, Mapping[str, Any]], curves: Mapping[Path, Curve]) -> tuple[Group, ...]:
    """Put runs of one recipe together."""
    recipes = {folder: _recipe(record) for folder, record in records.items()}
    members: dict[str, list[Path]] = {}
    for folder, recipe in recipes.items():
        members.setdefault(json.dumps(recipe, sort_keys=True), []).append(folder)
    firsts = [recipes[folders[0]] for folders in members.values()]
    names = [_name(recipe, firsts) for recipe in firsts]
    return tuple(
        Group(name, tuple(curves[folder] for folder in folders))
        for name, folders in zip(names, members.values(), strict=True)
    )


def _recipe(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the outcome of a run depends on but chance, in one level."""
    settings = {key: value for key, value in record["hyperparameters"].items() if key not in _CHANCE | _LOOKED_AT}
    return {
        "model": record["model"]["spec"],
        "model's file": record["model"].get("sha256"),
        "data": record["data"]["spec"],
        "data's content": "".join((record["data"].get("digest") or {}).values()),
        **(record["model"].get("args") or {}),
        **{key.replace("_", "-"): value for key, value in settings.items()},
    }


def _name(recipe: Mapping[str, Any], recipes: Sequence[Mapping[str, Any]]) -> str:
    """Return the model's name, and what else this recipe differs in from others of that model."""
    others = [other for other in recipes if other["model"] == recipe["model"]]
    keys = dict.fromkeys(key for other in others for key in other)
    differing = [key for key in keys if any(other.get(key) != others[0].get(key) for other in others)]
    if "data" in differing and "data's content" in differing:
        differing.remove("data's content")  # follows from the name
    told = [f"{key} {_short(recipe[key], key)}" for key in differing if key in recipe]
    return " ".join([_short(recipe["model"], "model"), ", ".join(told)]).strip()


def _short(value: Any, key: str) -> str:
    """Return a value as text: of a hash what is usual, of a long path its end, which tells it from others."""
    if isinstance(value, float):
        return f"{value:g}"
    text = value if isinstance(value, str) else json.dumps(value)
    if key in _HASHES:
        return text[:8]
    if len(text) <= _LONGEST:
        return text
    end = text[1 - _LONGEST :]
    return f"…{end[max(0, end.find('/')) :]}"
