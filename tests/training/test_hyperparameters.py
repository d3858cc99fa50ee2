import json
from typing import Any

import pytest

from bnfold.errors import InputError
from bnfold.training.hyperparameters import DEFAULT_EPOCHS, Device, Hyperparameters, Optimizer, Schedule


def test_defaults_are_complete() -> None:
    """Without any option there is a length and a device choice."""
    settings = Hyperparameters()
    assert (settings.epochs, settings.steps, settings.device) == (DEFAULT_EPOCHS, None, Device.AUTO)


def test_steps_replace_epochs() -> None:
    """A length in steps leaves no length in epochs."""
    assert (Hyperparameters(steps=5).epochs, Hyperparameters(steps=5).steps) == (None, 5)


def test_enumerations_are_taken_by_value() -> None:
    """Text from options and files becomes the enumeration's member, integers become the floats that they stand for."""
    settings = Hyperparameters.of({"schedule": "cosine", "optimizer": "adamw", "device": "cpu", "decay": 1}, where="x")
    assert (settings.schedule, settings.optimizer, settings.device) == (Schedule.COSINE, Optimizer.ADAMW, Device.CPU)
    assert isinstance(settings.decay, float)


def test_settings_survive_json() -> None:
    """What a run records gives back equal settings."""
    settings = Hyperparameters(
        steps=12, learning_rate=0.3, schedule=Schedule.STEP, seed=2**62, augment=("flip",), metrics=(), clip_norm=1
    )
    assert Hyperparameters.of(json.loads(json.dumps(settings.to_dict())), where="run.json") == settings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 3, "steps": 4}, r"epochs \(3\) and steps \(4\): give one of them"),
        ({"epochs": 0}, "epochs: expected an integer of at least 1, found 0"),
        ({"steps": -1}, "steps: expected an integer of at least 0, found -1"),
        ({"epochs": 1.5}, r"epochs: expected an integer of at least 1, found 1\.5"),
        ({"epochs": True}, "epochs: expected an integer of at least 1, found True"),
        ({"batch_size": 0}, "batch-size: expected an integer of at least 1, found 0"),
        ({"seed": -1}, "seed: expected an integer of at least 0, found -1"),
        ({"seed": 2**63}, "seed: expected an integer of at least 0"),
        ({"learning_rate": 0}, "learning-rate: expected a number above 0, found 0"),
        ({"learning_rate": float("nan")}, "learning-rate: expected a number above 0, found nan"),
        ({"learning_rate": float("inf")}, "learning-rate: expected a number above 0, found inf"),
        ({"learning_rate": "0.1"}, "learning-rate: expected a number above 0, found '0.1'"),
        ({"momentum": 1.0}, "momentum: expected a number at least 0 and below 1, found 1.0"),
        ({"momentum": False}, "momentum: expected a number at least 0 and below 1, found False"),
        ({"weight_decay": -0.1}, "weight-decay: expected a number at least 0, found -0.1"),
        ({"decay": 1.1}, "decay: expected a number above 0 and at most 1, found 1.1"),
        ({"decay_epochs": 0}, "decay-epochs: expected a number above 0, found 0"),
        ({"schedule": "cosin"}, r"schedule: no 'cosin', did you mean 'cosine'\?; expected constant, step, exponential"),
        ({"optimizer": "adam"}, r"optimizer: no 'adam', did you mean 'adamw'\?; expected sgd, adamw"),
        ({"device": "tpu"}, "device: no 'tpu'.*; expected auto, cpu, cuda"),
        ({"accumulate": 9, "batch_size": 8}, "accumulate: 9 parts of a minibatch of 8 samples"),
        ({"patience": 0}, "patience: expected an integer of at least 1, found 0"),
        ({"evaluate_every": 1.5}, r"evaluate-every: expected an integer of at least 1, found 1\.5"),
        ({"clip_norm": 0}, "clip-norm: expected a number above 0, found 0"),
        ({"warmup_epochs": -1}, "warmup-epochs: expected a number at least 0, found -1"),
        ({"precision": "half"}, "precision: no 'half'.*; expected float32, bf16, fp16"),
        ({"keep": "first"}, "keep: no 'first'.*; expected last, best"),
        ({"shuffle": 1}, "shuffle: expected true or false, found 1"),
        ({"augment": "flip"}, "augment: expected a list of texts, found 'flip'"),
        ({"metrics": [3]}, r"metrics: expected a list of texts, found \[3\]"),
        ({"loss": None}, "loss: expected text, found None"),
        ({"learning_rat": 1}, r"no hyperparameter 'learning_rat', did you mean 'learning_rate'\?; epochs, steps"),
    ],
)
def test_bad_values_are_named(values: dict[str, Any], words: str) -> None:
    """Each value out of its range or of another type is refused by its option's name, behind where it comes from."""
    with pytest.raises(InputError, match=f"^net.py: {words}"):
        Hyperparameters.of(values, where="net.py")
