"""The programs behind docs/paper.md, on trials of a few steps."""

import dataclasses
import json
from pathlib import Path

import pytest

from bnfold.training import Run, resolve_model
from bnfold_cli.samples import builtin_models
from experiments import training
from experiments.ensemble import members
from experiments.percentiles import draw_percentiles, drift
from experiments.plan import ENSEMBLE, FIGURE_1, PICTURES, TRIALS, Trial

ROOT = Path(__file__).parents[2]


def test_every_trial_can_be_trained() -> None:
    """Models, arguments and settings exist; each is trained once, and no picture shows one that is not."""
    for trial in TRIALS:
        source = resolve_model(trial.model, trial.args, builtin_models())
        assert source.recipe.hyperparameters(trial.settings).steps is not None
        source.build()
    folders = [training.run_folder(Path("paper"), trial, 0) for trial in TRIALS]
    assert len(set(folders)) == len(folders)
    shown = {training.run_folder(Path("paper"), trial, 0) for _, trials in PICTURES.values() for trial in trials}
    assert shown < set(folders)


def test_every_picture_of_the_page_is_there() -> None:
    """docs/paper.md shows a picture of each claim, and says what it shows to those who cannot see it."""
    page = (ROOT / "docs/paper.md").read_text()
    for claim in {*PICTURES, "figure-1bc"}:
        assert f"](images/{claim}.png)" in page
        assert {path.suffix for path in (ROOT / "docs/images").glob(f"{claim}.*")} == {".png", ".svg"}


def _short(trial: Trial) -> Trial:
    return dataclasses.replace(trial, settings={"steps": 4, "evaluate_every": 2})


@pytest.fixture
def figure_1(monkeypatch: pytest.MonkeyPatch) -> tuple[Trial, ...]:
    """The trials of figure 1, four steps long."""
    short = tuple(map(_short, FIGURE_1))
    monkeypatch.setattr(training, "FIGURE_1", short)
    return short


def test_watched_trials_tell_percentiles_and_are_trained_once(tmp_path: Path, figure_1: tuple[Trial, ...]) -> None:
    """Percentiles ascend and are there for every measurement; a second call finds the run finished."""
    for trial in figure_1:
        line = training._train_one((tmp_path, trial, 0))
        folder = training.run_folder(tmp_path, trial, 0)
        assert Run.open(folder).finished, line
        seen = json.loads((folder / training.PERCENTILES_FILE).read_text())["steps"]
        assert [entry["step"] for entry in seen] == [2, 4]
        assert all(entry["percentiles"] == sorted(entry["percentiles"]) for entry in seen)
        assert training._train_one((tmp_path, trial, 0)).endswith("is there")
    draw_percentiles(tmp_path, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert set(drift(tmp_path, 0)) == {trial.name for trial in figure_1}


def test_an_interrupted_experiment_goes_on(tmp_path: Path, figure_1: tuple[Trial, ...]) -> None:
    """What a kill has left half trained is trained to its end, watched or not."""
    (watched, _) = figure_1
    for trial in (watched, dataclasses.replace(watched, name="another")):
        folder = training.run_folder(tmp_path, trial, 0)
        folder.parent.mkdir(exist_ok=True)
        training._train(trial, 0, folder, 2)
        if trial != watched:
            record = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps({**record, "finished": False}))
        training._train_one((tmp_path, trial, 0))
        steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert steps == [2, 4]
        assert Run.open(folder).finished
        assert (folder / training.PERCENTILES_FILE).is_file() == (trial == watched)


def test_watching_a_training_does_not_change_it(tmp_path: Path, figure_1: tuple[Trial, ...]) -> None:
    """Trained in stretches, the weights are bit for bit those of one training."""
    (trial, _) = figure_1
    training._train_one((tmp_path / "watched", trial, 3))
    (tmp_path / "at-once").mkdir()
    training._train(trial, 3, tmp_path / "at-once" / "run")
    watched = training.run_folder(tmp_path / "watched", trial, 3) / "model.safetensors"
    assert watched.read_bytes() == (tmp_path / "at-once" / "run" / "model.safetensors").read_bytes()


def test_the_ensemble_is_measured_beside_its_members(tmp_path: Path) -> None:
    """An accuracy of each network alone, and that of what their probabilities average to."""
    (trial,) = ENSEMBLE
    short = {"steps": 2, "evaluate_every": 2, "batch_size": 8}
    small = dataclasses.replace(trial, args={**trial.args, "width": 0.03125, "members": 3}, settings=short)
    line = training._train_one((tmp_path, small, 0))
    found = members(tmp_path, 0)
    assert isinstance(found["members"], list)
    assert len(found["members"]) == 3
    assert line.endswith(f"{found['ensemble']:.2%}")
