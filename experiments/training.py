"""Training the plan: each trial and seed a run folder, two at a time; what is there and finished stays."""

import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bnfold.data import Split, load_data
from bnfold.errors import BnfoldError
from bnfold.files import atomic_file
from bnfold.training import Run, resolve_model, train
from bnfold_cli.samples import builtin_models
from experiments.plan import FIGURE_1, Trial

PERCENTILES = (15, 50, 85)
PERCENTILES_FILE = "percentiles.json"
_UNIT = 0
"""Which sigmoid of the last hidden layer is watched; they are drawn alike, and so the first is as typical as any."""


def run_folder(root: Path, trial: Trial, seed: int) -> Path:
    """Return where the run of a trial is."""
    return root / trial.claim / f"{trial.name}-seed{seed}"


def train_all(root: Path, trials: Iterable[Trial], seeds: int, processes: int) -> None:
    """Train every trial with seeds 0, 1, …, the first seed of all of them first."""
    jobs = [(root, trial, seed) for seed in range(seeds) for trial in trials]
    with ProcessPoolExecutor(processes, initializer=_one_thread) as pool:
        for line in pool.map(_train_one, jobs):
            print(line, flush=True)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _train_one(job: tuple[Path, Trial, int]) -> str:
    """Train one run and return a line about it; one that diverges is kept as far as it went, as a result too."""
    root, trial, seed = job
    folder = run_folder(root, trial, seed)
    if _is_done(trial, folder):
        return f"{folder}: is there"
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        accuracy = _watched(trial, seed, folder) if trial in FIGURE_1 else _train(trial, seed, folder)
    except BnfoldError as error:
        return f"{folder}: {error}"
    return f"{folder}: {accuracy:.2%}"


def _is_done(trial: Trial, folder: Path) -> bool:
    if trial in FIGURE_1:
        return (folder / PERCENTILES_FILE).is_file()
    return folder.is_dir() and Run.open(folder).finished


def _train(trial: Trial, seed: int, folder: Path, steps: int | None = None, *, anew: bool = False) -> float:
    """Train, or go on with what an interruption left, unless it is to begin anew."""
    source = resolve_model(trial.model, trial.args, builtin_models())
    recipe = source.recipe
    length = {} if steps is None else {"steps": steps}
    settings = recipe.hyperparameters({**trial.settings, **length, "seed": seed, "device": "cpu"})
    data = trial.data or recipe.data
    assert data is not None
    result = train(source, data, settings, folder, resume=not anew, force=anew)
    accuracy = result.final.test_accuracy
    assert accuracy is not None
    return accuracy


def _watched(trial: Trial, seed: int, folder: Path) -> float:
    """Train in stretches (bit for bit the same as at once), and look at a sigmoid's input after each."""
    settings = resolve_model(trial.model, trial.args, builtin_models()).recipe.hyperparameters(trial.settings)
    assert settings.steps is not None
    every = settings.evaluate_every
    assert every is not None
    seen: list[dict[str, object]] = []
    accuracy = 0.0
    for step in range(every, settings.steps + 1, every):
        accuracy = _train(trial, seed, folder, step, anew=step == every)
        seen.append({"step": step, "percentiles": _last_sigmoid_input(Run.open(folder))})
    with atomic_file(folder / PERCENTILES_FILE) as temporary:
        temporary.write_text(json.dumps({"unit": _UNIT, "of": PERCENTILES, "steps": seen}))
    return accuracy


def _last_sigmoid_input(run: Run) -> list[float]:
    """Return percentiles, over the test split in evaluation mode, of what a unit of the last hidden layer squashes."""
    model = run.load_model(builtin_models())
    sigmoid = [module for module in model.modules() if isinstance(module, nn.Sigmoid)][-1]
    inputs: list[Tensor] = []
    handle = sigmoid.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    images = load_data(run.data_spec, Split.TEST).inputs["images"]
    with torch.no_grad():
        model(torch.from_numpy(images.copy()))
    handle.remove()
    return [float(value) for value in np.percentile(inputs[0][:, _UNIT].double().numpy(), PERCENTILES)]
