from pathlib import Path
from typing import Any

import pytest

from bnfold.errors import InputError
from bnfold.training import Hyperparameters, Measurement, Run, resolve_model, train
from tests.training.tiny import BATCH, PER_EPOCH, TOTAL, StopAt, Stopped, TinyTraining, metrics, weights


@pytest.mark.parametrize(
    ("stops", "checkpoint_every"),
    [([0], None), ([3], None), ([PER_EPOCH], None), ([9], None), ([5], 1), ([8], 3), ([13], 2), ([4, 3, 2, 1], 2)],
)
def test_an_exception_at_any_step_leaves_a_run_that_ends_the_same(
    tiny: TinyTraining, whole: Path, tmp_path: Path, stops: list[int], checkpoint_every: int | None
) -> None:
    """Broken off once or often, before or after a checkpoint, the resumed run ends with the same bits and metrics."""
    folder = tmp_path / "run"
    for stop in stops:
        with pytest.raises(Stopped):
            tiny.train(folder, resume=True, checkpoint_every=checkpoint_every, progress=StopAt(stop))
        assert not (folder / "model.safetensors").exists()
    progress = StopAt()
    result = tiny.train(folder, resume=True, checkpoint_every=checkpoint_every, progress=progress)
    assert weights(folder) == weights(whole)
    assert metrics(folder) == metrics(whole)
    assert result.resumed_from == TOTAL - progress.seen
    assert Run.open(folder).finished


def test_a_listener_that_raises_loses_nothing(tiny: TinyTraining, whole: Path, tmp_path: Path) -> None:
    """The checkpoint is written before the listener is told."""

    def listener(measurement: Measurement) -> None:
        raise Stopped(measurement.step)

    with pytest.raises(Stopped, match=str(PER_EPOCH)):
        tiny.train(tmp_path / "run", listener=listener)
    assert tiny.train(tmp_path / "run", resume=True).resumed_from == PER_EPOCH
    assert weights(tmp_path / "run") == weights(whole)


def test_metrics_after_the_last_checkpoint_are_dropped(tiny: TinyTraining, whole: Path, tmp_path: Path) -> None:
    """Lines that no checkpoint knows go when the run is resumed, torn ones too, and what a killed writer left."""
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        tiny.train(folder, progress=StopAt(PER_EPOCH + 2))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 14, "test_accuracy": 2.0}\n{"step": 2')
    (folder / ".checkpoint.safetensors.abc123").mkdir()
    (folder / ".checkpoint.safetensors.abc123" / "checkpoint.safetensors").write_bytes(b"half")
    tiny.train(folder, resume=True)
    assert metrics(folder) == metrics(whole)
    assert not list(folder.glob(".*"))


def test_a_finished_run_comes_back_at_once(tiny: TinyTraining, whole: Path) -> None:
    """Nothing is trained and the weights and the record are not even rewritten."""
    stamps = {name: (whole / name).stat().st_mtime_ns for name in ("model.safetensors", "run.json")}
    progress = StopAt(0)
    result = tiny.train(whole, resume=True, progress=progress)
    assert (progress.seen, result.resumed_from, result.steps) == (0, TOTAL, TOTAL)
    assert result.final.test_accuracy == metrics(whole)[-1]["test_accuracy"]
    assert stamps == {name: (whole / name).stat().st_mtime_ns for name in stamps}


@pytest.mark.parametrize("schedule", ["constant", "step", "exponential"])
def test_a_finished_run_can_be_extended(tiny: TinyTraining, tmp_path: Path, schedule: str) -> None:
    """More epochs, or more steps from within an epoch, end where a longer training from the start ends."""
    settings = {"schedule": schedule, "decay_epochs": 1.5, "decay": 0.5}
    tiny.train(tmp_path / "long", settings=settings)
    tiny.train(tmp_path / "epochs", settings={**settings, "epochs": 1})
    with pytest.raises(Stopped):
        tiny.train(tmp_path / "epochs", settings=settings, resume=True, progress=StopAt(3))
    assert not Run.open(tmp_path / "epochs").finished
    tiny.train(tmp_path / "epochs", settings=settings, resume=True)
    assert metrics(tmp_path / "epochs") == metrics(tmp_path / "long")
    tiny.train(tmp_path / "steps", settings={**settings, "steps": 5})
    tiny.train(tmp_path / "steps", settings={**settings, "steps": TOTAL}, resume=True)
    assert weights(tmp_path / "long") == weights(tmp_path / "epochs") == weights(tmp_path / "steps")


def test_what_differs_from_the_run_is_named(tiny: TinyTraining, whole: Path, tmp_path: Path) -> None:
    """A run is resumed with what it was made with: every difference in settings, model or data is listed."""
    before = {file.name: file.read_bytes() for file in whole.iterdir()}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"learning_rate": 0.2, "seed": 3}, r"learning-rate is 0\.2, was 0\.1; seed is 3, was 0; give what"),
        ({"epochs": 1}, "epochs is 1, was 2"),
        ({"steps": 99}, "epochs is None, was 2; steps is 99, was None"),
        ({"epochs": 3, "schedule": "cosine"}, "epochs is 3, was 2; schedule is cosine, was constant"),
    ]
    for settings, words in cases:
        with pytest.raises(InputError, match=f"whole: cannot resume: {words}"):
            tiny.train(whole, settings=settings, resume=True)
    settings = Hyperparameters.of({"epochs": 2, "batch_size": BATCH, "device": "cpu"}, where="test")
    with pytest.raises(InputError, match=r"the model's arguments are \{'width': 9\}, were \{\}"):
        train(tiny.source(width=9), "digits", settings, whole, resume=True)
    mlp = resolve_model("sigmoid-mlp", {}, tiny.builtins)
    with pytest.raises(InputError, match=r"cannot resume: the model is sigmoid-mlp, was .*tiny\.py:build"):
        train(mlp, "digits", settings, whole, resume=True)
    (tmp_path / "half.py").write_text(
        "from bnfold.data import Split, load_data\n"
        "def make(split): return load_data('digits', Split(split)).take(300)\n"
    )
    with pytest.raises(InputError, match=r"cannot resume: the data is .*half\.py:make, was digits"):
        train(tiny.source(), f"{tmp_path / 'half.py'}:make", settings, whole, resume=True)
    tiny.file.write_text(tiny.file.read_text() + "# changed\n")
    with pytest.raises(InputError, match=r"cannot resume: the content of model .*tiny\.py:build has changed"):
        tiny.train(whole, resume=True)
    assert before == {file.name: file.read_bytes() for file in whole.iterdir()}


def test_a_schedule_that_looks_at_the_end_is_not_extended(tiny: TinyTraining, tmp_path: Path) -> None:
    """Half of a cosine is not the beginning of a longer one."""
    tiny.train(tmp_path / "run", settings={"steps": 2, "schedule": "cosine"})
    with pytest.raises(InputError, match="cannot resume: steps is 3, was 2"):
        tiny.train(tmp_path / "run", settings={"steps": 3, "schedule": "cosine"}, resume=True)


def test_a_damaged_checkpoint_is_one_line(tiny: TinyTraining, tmp_path: Path) -> None:
    """A cut checkpoint is not taken for none; a finished run without one, such as a calibrated one, cannot go on."""
    folder = tmp_path / "run"
    tiny.train(folder, settings={"steps": 2})
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: not a readable safetensors file"):
        tiny.train(folder, settings={"steps": 3}, resume=True)
    path.unlink()
    with pytest.raises(
        InputError, match=r"run: finished, and without checkpoint\.safetensors there is nothing to go on"
    ):
        tiny.train(folder, settings={"steps": 3}, resume=True)
