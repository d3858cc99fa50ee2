import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bnfold.data import Batch
from bnfold.errors import InputError
from bnfold.training import checkpoint, random_state
from bnfold.training.hyperparameters import Hyperparameters, Optimizer
from bnfold.training.network import make_optimizer
from bnfold.training.record import Measurement
from bnfold.training.session import Session
from bnfold.training.shares import Share
from bnfold.training.tensors import read_tensors, write_tensors

BATCH = Batch({"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)}, np.array([0, 1, 1, 0]))
MEASUREMENT = Measurement(3, 1.5, 0.1, 1 / 3, 0.7, 0.25, 9.5)


def session(optimizer: Optimizer, width: int = 5) -> Session:
    """Return a new session on a network with dropout, BN and a weight that two layers share."""
    first, second = nn.Linear(3, width), nn.Linear(width, width)
    third = nn.Linear(width, width)
    third.weight = second.weight
    model = nn.Sequential(first, nn.BatchNorm1d(width), nn.Dropout(0.4), second, third).train()
    return Session(model, make_optimizer(model, Hyperparameters(optimizer=optimizer, weight_decay=0.01)))


def trained(optimizer: Optimizer, steps: int = 3) -> Session:
    """Return a session after some steps."""
    made = session(optimizer)
    for _ in range(steps):
        made.update([Share(BATCH)], 0.05)
    return made


@pytest.mark.parametrize("optimizer", Optimizer)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_restored_session_goes_on_bit_by_bit(tmp_path: Path, optimizer: Optimizer, steps: int) -> None:
    """Model, optimizer, dropout and bookkeeping go on from a checkpoint as if they had never stopped."""
    with random_state.isolated(1):
        ongoing = trained(optimizer, steps)
        ongoing.history.append(MEASUREMENT)
        checkpoint.save(tmp_path / "c.safetensors", ongoing, seconds=12.5)
        expected = [ongoing.update([Share(BATCH)], 0.05) for _ in range(3)]
    with random_state.isolated(2):
        restored = session(optimizer)
        checkpoint.restore(tmp_path / "c.safetensors", restored)
        assert (restored.step, restored.saved_step, restored.seconds) == (steps, steps, 12.5)
        assert restored.history == [MEASUREMENT]
        assert [restored.update([Share(BATCH)], 0.05) for _ in range(3)] == expected
    assert restored.take_mean_loss() == ongoing.take_mean_loss()
    for name, value in ongoing.model.state_dict().items():
        assert torch.equal(restored.model.state_dict()[name], value)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    """Tensors of other shapes are said in one line with the file."""
    checkpoint.save(tmp_path / "c.safetensors", trained(Optimizer.SGD), seconds=0)
    with pytest.raises(InputError, match=r"c\.safetensors: not a checkpoint of this model: RuntimeError") as caught:
        checkpoint.restore(tmp_path / "c.safetensors", session(Optimizer.SGD, width=6))
    assert "\n" not in str(caught.value)


def damaged(state: dict[str, Any], key: str, value: object) -> dict[str, str]:
    """Return metadata with one entry replaced, or left out."""
    changed = {**state, key: value}
    return {"bnfold": json.dumps({name: entry for name, entry in changed.items() if entry is not None})}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("schema", "bnfold.checkpoint/9", r"schema bnfold\.checkpoint/9, expected bnfold\.checkpoint/2"),
        ("schema", None, "not a checkpoint of this model: KeyError: 'schema'"),
        ("step", None, "not a checkpoint of this model: KeyError: 'step'"),
        ("history", [{"step": 3}], "not a checkpoint of this model: TypeError"),
        ("random", [{"python": [3, [1], None], "numpy": []}], "not a checkpoint of this model: ValueError"),
    ],
)
def test_damaged_metadata_is_one_line(tmp_path: Path, key: str, value: object, words: str) -> None:
    """Whatever is missing or of another kind in the text part is found."""
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, trained(Optimizer.SGD), seconds=0)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, damaged(json.loads(metadata["bnfold"]), key, value))
    with pytest.raises(InputError, match=words):
        checkpoint.restore(path, session(Optimizer.SGD))


def test_other_safetensors_files_are_no_checkpoints(tmp_path: Path) -> None:
    """Weights alone, a cut file and no file are told apart from a checkpoint."""
    path = tmp_path / "c.safetensors"
    with pytest.raises(InputError, match="no such file"):
        checkpoint.restore(path, session(Optimizer.SGD))
    write_tensors(path, session(Optimizer.SGD).model.state_dict(), {})
    with pytest.raises(InputError, match="not a checkpoint of this model: KeyError: 'bnfold'"):
        checkpoint.restore(path, session(Optimizer.SGD))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        checkpoint.restore(path, session(Optimizer.SGD))
