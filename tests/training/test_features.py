"""What a training can be told besides its length; whatever it was told, a resumed one ends with the same bits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnfold.data import Split, load_data
from bnfold.errors import InputError
from bnfold.training import Device, Hyperparameters, Run, evaluate_as_trained, resolve_model, train
from bnfold.training.tensors import read_tensors
from tests.training.tiny import PER_EPOCH, StopAt, Stopped, TinyTraining, metrics, weights

CONVOLUTIONS = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(216, 10)
    )


def squared(outputs, labels):
    return (outputs.softmax(1) - nn.functional.one_hot(labels, 10)).square().mean()


def right(outputs, labels):
    return int((outputs.argmax(1) == labels).sum())
"""

OPTIONS: dict[str, dict[str, Any]] = {
    "augmented": {"augment": ["crop:1", "flip"]},
    "not shuffled": {"shuffle": False},
    "accumulated": {"accumulate": 3, "clip_norm": 0.5},
    "warmed up": {"warmup_epochs": 1.5, "optimizer": "adamw", "learning_rate": 0.01},
    "bf16": {"precision": "bf16", "channels_last": True},
    "fp16": {"precision": "fp16"},
    "own functions": {"loss": ":squared", "metrics": [":right", "accuracy"], "monitor": "right"},
    "measured often": {"evaluate_every": 2, "population_statistics": True, "keep": "best"},
    "deterministic": {"deterministic": True},
}


@pytest.fixture
def convolutions(tmp_path: Path) -> Path:
    """A file with a model, a loss and a metric."""
    path = tmp_path / "convolutions.py"
    path.write_text(CONVOLUTIONS)
    return path


def run(file: Path, folder: Path, *, options: dict[str, Any], **how: Any) -> list[dict[str, Any]]:
    """Train the convolutions and return the measurements."""
    settings = Hyperparameters.of({"steps": 9, "batch_size": 200, "device": "cpu", **options}, where="test")
    train(resolve_model(f"{file}:build", {}, file.parent), "digits", settings, folder, **how)
    return metrics(folder)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_survives_resumption_bit_for_bit(convolutions: Path, tmp_path: Path, name: str) -> None:
    """Broken off twice, between checkpoints; and each option makes a difference."""
    whole = run(convolutions, tmp_path / "whole", options=OPTIONS[name])
    for stop in (4, 3):
        with pytest.raises(Stopped):
            run(
                convolutions,
                tmp_path / "r",
                options=OPTIONS[name],
                resume=True,
                checkpoint_every=3,
                progress=StopAt(stop),
            )
    assert run(convolutions, tmp_path / "r", options=OPTIONS[name], resume=True) == whole
    assert weights(tmp_path / "r") == weights(tmp_path / "whole")
    if name != "deterministic":  # its algorithms are the usual ones here
        plain = run(convolutions, tmp_path / "plain", options={})
        assert plain != whole


def test_deterministic_mode_gives_the_same_bits_and_leaves_torch_as_it_was(convolutions: Path, tmp_path: Path) -> None:
    """Twice the same; the switch is off again afterwards; a model that has no such algorithm is named."""
    for name in "ab":
        run(convolutions, tmp_path / name, options={"deterministic": True})
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert not torch.are_deterministic_algorithms_enabled()
    convolutions.write_text(
        "import torch\n"
        "class Picks(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        x = super().forward(x.flatten(1))\n"
        "        return x.put(torch.arange(10), x[0], accumulate=False) if self.training else x\n"
        "def build(): return Picks(64, 10)\n"
    )
    with pytest.raises(InputError, match=r"put_? does not have a deterministic implementation"):
        run(convolutions, tmp_path / "c", options={"deterministic": True})
    assert not torch.are_deterministic_algorithms_enabled()


def test_parts_of_a_minibatch_add_up_to_its_gradient(tmp_path: Path) -> None:
    """Without BN and dropout, in float64, accumulated parts of different size train like the whole."""
    (tmp_path / "linear.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()\n"
        "def data(split):\n"
        "    from bnfold.data import Dataset, Split, load_data\n"
        "    d = load_data('digits', Split(split))\n"
        "    return Dataset('d', {'x': d.inputs['images'].astype('float64')}, d.labels)\n"
    )
    source, results = resolve_model(f"{tmp_path / 'linear.py'}:build", {}, tmp_path), list[dict[str, Any]]()
    for parts in (1, 3):
        settings = Hyperparameters(steps=5, batch_size=200, accumulate=parts, device=Device.CPU)
        train(source, f"{tmp_path / 'linear.py'}:data", settings, tmp_path / str(parts))
        results += metrics(tmp_path / str(parts))
    # Sums in another order: 200 terms near 1, rounded to 2⁻⁵³, over five steps.
    assert results[0]["train_loss"] == pytest.approx(results[1]["train_loss"], rel=0, abs=5 * 200 * 2**-53)
    assert results[0]["test_loss"] == pytest.approx(results[1]["test_loss"], rel=0, abs=5 * 200 * 2**-53)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_patience_ends_a_training_and_the_best_weights_are_there(convolutions: Path, tmp_path: Path, keep: str) -> None:
    """At a rate that makes things worse it stops early; what is kept is what the record says, resumed or not."""
    options = {"steps": 60, "learning_rate": 20.0, "clip_norm": 5.0, "evaluate_every": 1, "patience": 3, "keep": keep}
    lines = run(convolutions, tmp_path / "run", options=options)
    accuracies = [line["test_accuracy"] for line in lines]
    best = accuracies.index(max(accuracies))
    assert len(lines) == best + 4 < 60
    record = Run.open(tmp_path / "run").record
    assert record["finished"]
    assert record["metrics"]["step"] == (lines[best]["step"] if keep == "best" else lines[-1]["step"])
    kept, text = read_tensors(tmp_path / "run" / "best.safetensors")
    assert text["step"] == str(best + 1)
    final = read_tensors(tmp_path / "run" / "model.safetensors")[0]
    assert all(torch.equal(final[name], kept[name]) for name in kept) == (keep == "best")
    progress = StopAt(0)
    assert run(convolutions, tmp_path / "run", options=options, resume=True, progress=progress) == lines
    assert progress.seen == 0


def test_measurements_come_as_often_as_asked(convolutions: Path, tmp_path: Path) -> None:
    """Every so many steps and at the end; the weights do not depend on it."""
    lines = run(convolutions, tmp_path / "often", options={"evaluate_every": 4})
    assert [line["step"] for line in lines] == [4, 8, 9]
    assert [line["step"] for line in run(convolutions, tmp_path / "plain", options={})] == [PER_EPOCH, 9]
    assert weights(tmp_path / "often") == weights(tmp_path / "plain")


def test_a_changed_function_is_named_when_resuming(convolutions: Path, tmp_path: Path) -> None:
    """A loss of another file is part of what the run was made with."""
    (tmp_path / "own.py").write_text("def loss(o, y): return o.square().mean()\n")
    options = {"loss": f"{tmp_path / 'own.py'}:loss"}
    run(convolutions, tmp_path / "run", options=options)
    (tmp_path / "own.py").write_text("def loss(o, y): return o.square().mean() * 2\n")
    with pytest.raises(InputError, match=r"cannot resume: the content of function .*own\.py:loss has changed"):
        run(convolutions, tmp_path / "run", options={**options, "steps": 12}, resume=True)


def test_a_run_is_measured_again_as_it_was_trained(
    convolutions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own loss and metric, from another working directory; a changed file of theirs is not run."""
    (tmp_path / "own.py").write_text("def loss(o, y): return o.square().mean()\n")
    monkeypatch.chdir(tmp_path)
    lines = run(convolutions, tmp_path / "run", options={"loss": "own.py:loss", "metrics": [":right"]})
    monkeypatch.chdir(tmp_path.parent)
    opened = Run.open(tmp_path / "run")
    network, test = opened.load_model(tmp_path), load_data("digits", Split.TEST)
    found = evaluate_as_trained(opened, network, test, 200, tmp_path)
    assert (found.loss, found.values) == (lines[-1]["test_loss"], lines[-1]["metrics"])
    (tmp_path / "own.py").write_text("raise SystemExit\n")
    with pytest.raises(InputError, match=r"own\.py: changed since the run was made"):
        evaluate_as_trained(opened, network, test, 200, tmp_path)


def test_the_record_says_where_and_how(convolutions: Path, tmp_path: Path) -> None:
    """Machine, command, processes, functions and the data's channels."""
    run(convolutions, tmp_path / "run", options={"loss": ":squared", "steps": 1})
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {"platform", "cores", "device", "cuda"} == set(record["machine"])
    assert record["processes"] == 1
    assert record["functions"] == {":squared": record["model"]["sha256"]}
    assert record["started"].endswith("+00:00")
    assert record["hyperparameters"]["loss"] == ":squared"
    images = np.concatenate([np.ravel(value) for value in record["data"]["channels"]["images"].values()])
    assert images.shape == (2,)
    assert (images > 0).all()


def test_event_files_hold_what_was_measured(convolutions: Path, tmp_path: Path) -> None:
    """TensorBoard's own reader finds every figure at its step, those after a resumption included, none twice."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = {"evaluate_every": 3, "population_statistics": True}
    with pytest.raises(Stopped):
        run(convolutions, tmp_path / "run", options=options, tensorboard=True, progress=StopAt(7))
    lines = run(convolutions, tmp_path / "run", options=options, tensorboard=True, resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    for tag, key in (("loss/train", "train_loss"), ("loss/test", "test_loss"), ("metric/accuracy", "test_accuracy")):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert found == [(line["step"], float(np.float32(line[key]))) for line in lines]
    assert [event.value for event in events.Scalars("population/loss")] == [
        float(np.float32(line["population"]["loss"])) for line in lines
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"augment": ["rotate"]}, "augment: no 'rotate'"),
        ({"loss": "mean-squared-error"}, r"digits: .*outputs are \(2, 10\), labels \(2,\)"),
        ({"metrics": ["mean-ious"]}, "metric: no 'mean-ious'"),
        ({"monitor": "mean-iou"}, "monitor: 'mean-iou' is not measured"),
        ({"loss": ":lost"}, "no function 'lost'"),
        ({"loss": ":right"}, "loss :right: returned int, expected a scalar tensor"),
    ],
)
def test_what_does_not_fit_writes_nothing(
    convolutions: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """Found before the folder is made."""
    with pytest.raises(InputError, match=words):
        run(convolutions, tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()


def test_a_missing_tensorboard_is_named(tiny: TinyTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, before any work."""
    monkeypatch.setattr("bnfold.training.tensorboard.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"tensorboard: is not installed; run pip install 'bnfold\[tensorboard\]'"):
        tiny.train(tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler imports what torch has deprecated
def test_a_compiled_training_survives_resumption_bit_for_bit(convolutions: Path, tmp_path: Path) -> None:
    """Compiled and compiled again; the run's weights have the model's own names."""
    options = {"compile": True}
    whole = run(convolutions, tmp_path / "whole", options=options)
    with pytest.raises(Stopped):
        run(convolutions, tmp_path / "r", options=options, checkpoint_every=3, progress=StopAt(5))
    assert run(convolutions, tmp_path / "r", options=options, resume=True) == whole
    assert weights(tmp_path / "r") == weights(tmp_path / "whole")
    assert "0.weight" in read_tensors(tmp_path / "whole" / "model.safetensors")[0]
    plain = run(convolutions, tmp_path / "plain", options={})
    # One minibatch sees the same weights; the loss is a mean of float32 sums in another order, grown over seven steps.
    assert whole[0]["train_loss"] == pytest.approx(plain[0]["train_loss"], rel=1e-3)
