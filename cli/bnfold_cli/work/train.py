"""``bnfold train``: a model and data by name, settings over the model's own recipe, a run folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold_cli.samples import builtin_models
from bnfold_cli.work.sources import require_torch

if TYPE_CHECKING:
    from bnfold.training import Hyperparameters, Measurement, TrainResult


@dataclass(frozen=True)
class Trained:
    """A finished run with what it was made of."""

    model: str
    data: str
    settings: "Hyperparameters"
    result: "TrainResult"

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "run": str(self.result.folder),
            "model": self.model,
            "data": self.data,
            "settings": self.settings.to_dict(),
            "steps": self.result.steps,
            "resumed_from": self.result.resumed_from,
            "stopped_early": self.result.stopped_early,
            "best_step": self.result.history[self.result.best].step,
            "final": asdict(self.result.final),
            "history": [asdict(measurement) for measurement in self.result.history],
        }


def train(
    model: str,
    output: Path,
    *,
    data: str | None = None,
    model_args: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
    resume: bool = False,
    force: bool = False,
    checkpoint_every: int | None = None,
    tensorboard: bool = False,
    weights: Path | None = None,
    progress: Progress = silent,
    listener: "Callable[[Measurement], None] | None" = None,
) -> Trained:
    """Train ``model`` and leave the run in ``output``.

    Args:
        model: a built-in name, ``FILE.py:FACTORY`` or ``PACKAGE.MODULE:FACTORY``.
        output: the run folder.
        data: what to train on, by default what the model's recipe says; ``:FACTORY`` is one in the model's own file.
        model_args: keyword arguments of the factory.
        settings: hyperparameters that replace the recipe's.
        resume: go on with the run that is there.
        force: give up the run that is there.
        checkpoint_every: steps between further checkpoints.
        tensorboard: write event files too.
        weights: what to start from in place of random ones.
        progress: told of every step.
        listener: told of every measurement.

    Raises:
        InputError: unknown model, data or setting, or the folder is in the way.
        MissingDependencyError: torch is not installed.
    """
    require_torch("train")
    from bnfold.training import resolve_model
    from bnfold.training import train as train_model

    source = resolve_model(model, model_args or {}, builtin_models())
    recipe = source.recipe
    data = data or recipe.data
    if data is None:
        raise InputError(f"{model}: recommends no data; say what to train on with --data.")
    if data.startswith(":"):
        data = f"{source.path}{data}"
    hyperparameters = recipe.hyperparameters(settings or {})
    result = train_model(
        source,
        data,
        hyperparameters,
        output,
        resume=resume,
        force=force,
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
        weights=weights,
        progress=progress,
        listener=listener,
    )
    return Trained(model, data, hyperparameters, result)


def parse_model_args(pairs: Sequence[str]) -> dict[str, object]:
    """Return ``["width=24"]`` as ``{"width": 24}``; values are JSON.

    Raises:
        InputError: no ``=``, or what follows it is not JSON.
    """
    return dict(_parse_pair(pair) for pair in pairs)


def _parse_pair(pair: str) -> tuple[str, object]:
    key, equals, text = pair.partition("=")
    if not key or not equals:
        raise InputError(f"--model-arg {pair}: expected KEY=JSON, for instance width=24.")
    try:
        return key, json.loads(text)
    except json.JSONDecodeError:
        raise InputError(
            f"--model-arg {pair}: {text!r} is not JSON; write text in quotes: '{key}=\"{text}\"'."
        ) from None
