import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from bnfold.errors import BnfoldError
from bnfold.training import Hyperparameters, Measurement, Run, resolve_model, train
from tests.training.tiny import PER_EPOCH, TIMES, TOTAL, StopAt, TinyTraining, metrics, weights


def test_a_training_leaves_a_run_folder(tiny: TinyTraining, tmp_path: Path) -> None:
    """Result, record, metrics and listener tell the same; every epoch is measured; progress sees every step."""
    told: list[Measurement] = []
    progress = StopAt()
    result = tiny.train(tmp_path / "run", progress=progress, listener=told.append)
    assert (result.steps, result.resumed_from, result.folder) == (TOTAL, None, tmp_path / "run")
    assert [(line.step, line.epoch) for line in result.history] == [(PER_EPOCH, 1.0), (TOTAL, 2.0)]
    assert told == list(result.history)
    assert metrics(tmp_path / "run") == [
        {key: value for key, value in dataclasses.asdict(line).items() if key not in TIMES} for line in told
    ]
    assert (progress.seen, progress.total) == (TOTAL, TOTAL)
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        "best.safetensors",
        "checkpoint.safetensors",
        "metrics.jsonl",
        "model.safetensors",
        "run.json",
    ]
    assert 0 < result.history[0].seconds < result.final.seconds


def test_training_learns(tiny: TinyTraining, tmp_path: Path) -> None:
    """After a few epochs most digits are told apart and the loss has fallen: chance would be one in ten."""
    result = tiny.train(tmp_path / "run", settings={"epochs": 6, "batch_size": 50})
    assert result.final.test_accuracy is not None
    assert result.final.test_accuracy > 0.6
    first, last = result.history[0].train_loss, result.final.train_loss
    assert first is not None
    assert last is not None
    assert last < first


def test_equal_seeds_give_equal_bits_and_others_do_not(tiny: TinyTraining, whole: Path, tmp_path: Path) -> None:
    """The seed decides everything, whatever the caller drew before; checkpoints in between change nothing."""
    torch.manual_seed(999)
    random.seed(999)
    np.random.seed(999)  # noqa: NPY002  (the global generator is the subject)
    tiny.train(tmp_path / "again", checkpoint_every=2)
    assert weights(tmp_path / "again") == weights(whole)
    assert metrics(tmp_path / "again") == metrics(whole)
    tiny.train(tmp_path / "other", settings={"seed": 1})
    assert weights(tmp_path / "other") != weights(whole)


def test_the_seed_decides_the_initial_weights(tiny: TinyTraining, tmp_path: Path) -> None:
    """Before training could tell two runs apart, their weights already differ."""
    for seed in (0, 1):
        tiny.train(tmp_path / str(seed), settings={"steps": 1, "seed": seed, "learning_rate": 1e-30})
    first, second = (Run.open(tmp_path / name).load_model(tiny.builtins).get_parameter("head.weight") for name in "01")
    assert not torch.equal(first, second)


def test_the_rate_follows_the_schedule(tiny: TinyTraining, tmp_path: Path) -> None:
    """Every step takes the rate of its own position, which the measurements show and the weights depend on."""
    settings = {"schedule": "step", "decay": 0.5, "decay_epochs": 1}
    result = tiny.train(tmp_path / "run", settings=settings)
    assert [line.learning_rate for line in result.history] == [0.1, 0.05]
    tiny.train(tmp_path / "constant")
    assert metrics(tmp_path / "run")[0] == metrics(tmp_path / "constant")[0]
    assert weights(tmp_path / "run") != weights(tmp_path / "constant")


def test_the_callers_random_states_are_left_alone(tiny: TinyTraining, tmp_path: Path) -> None:
    """Training draws from states of its own."""
    before = torch.get_rng_state(), random.getstate()
    tiny.train(tmp_path / "run", settings={"steps": 2})
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_length_in_steps_may_end_within_an_epoch(tiny: TinyTraining, whole: Path, tmp_path: Path) -> None:
    """The last measurement is of the last step; as many steps as two epochs are two epochs."""
    result = tiny.train(tmp_path / "short", settings={"steps": 3})
    assert [(line.step, line.epoch) for line in result.history] == [(3, 3 / PER_EPOCH)]
    tiny.train(tmp_path / "long", settings={"steps": TOTAL})
    assert weights(tmp_path / "long") == weights(whole)


def test_a_diverging_training_stops_and_keeps_its_checkpoint(tiny: TinyTraining, tmp_path: Path) -> None:
    """A loss that is not finite ends the run with the step, the last checkpoint and what to change."""
    folder = tmp_path / "run"
    with pytest.raises(
        BnfoldError, match=r"the loss is (nan|inf) after step \d+: training diverged; checkpoint: that of"
    ):
        tiny.train(folder, settings={"learning_rate": 1e30}, checkpoint_every=1)
    assert (folder / "checkpoint.safetensors").exists()
    assert not (folder / "model.safetensors").exists()
    with pytest.raises(
        BnfoldError, match=r"checkpoint: none was written yet; begin anew with a learning-rate below 1e\+30"
    ):
        tiny.train(folder, settings={"learning_rate": 1e30}, force=True)


def test_a_measurement_that_is_not_finite_is_divergence_too(tiny: TinyTraining, tmp_path: Path) -> None:
    """The last step has no step after it to notice: the measurement does."""
    with pytest.raises(BnfoldError, match=r"the test loss is (nan|inf) after step 1:"):
        tiny.train(tmp_path / "run", settings={"learning_rate": 1e38, "steps": 1})


def test_several_inputs_go_by_name(tmp_path: Path, builtins: Path) -> None:
    """A model of two inputs gets them by keyword, whatever their order in the file."""
    (tmp_path / "two.py").write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.wide, self.narrow = nn.Linear(5, 10), nn.Linear(3, 10)\n"
        "    def forward(self, a, b):\n"
        "        return self.wide(a) + self.narrow(b)\n"
    )
    np.savez(
        tmp_path / "data.npz", b=np.ones((20, 3), np.float32), a=np.ones((20, 5), np.float32), y=np.arange(20) % 10
    )
    source = resolve_model(f"{tmp_path / 'two.py'}:Two", {}, builtins)
    settings = Hyperparameters.of({"steps": 2, "batch_size": 4, "device": "cpu"}, where="test")
    train(source, f"npz:{tmp_path / 'data.npz'}", settings, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.input_names == ("b", "a")
    assert run.record["inputs"]["a"] == {"shape": [5], "dtype": "float32"}


def test_a_loss_that_is_nothing_from_the_start_is_no_divergence(tiny: TinyTraining, tmp_path: Path) -> None:
    """No rate is to blame before the first update."""
    loss = "def nothing(outputs, labels):\n    return outputs.sum() * float('nan')\n"
    tiny.file.write_text(f"{tiny.file.read_text()}\n\n{loss}")
    words = "the loss is nan before the first update; look at the data, the initial weights and the loss"
    with pytest.raises(BnfoldError, match=words):
        tiny.train(tmp_path / "run", settings={"loss": ":nothing"})
