"""A session on disk, in one safetensors file: tensors as tensors, the rest as JSON in its metadata.

The order of the data needs no place: it follows from seed and step (`bnfold.training.order`).
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnfold.data.factories import one_line
from bnfold.errors import InputError
from bnfold.training import random_state
from bnfold.training.random_state import RandomState
from bnfold.training.session import Measurement, Session
from bnfold.training.tensors import read_tensors, write_tensors

SCHEMA = "bnfold.checkpoint/1"
_MODEL, _OPTIMIZER, _TORCH, _CUDA = "model/", "optimizer/", "random/torch", "random/cuda"


def save(path: Path, session: Session, *, seconds: float) -> None:
    """Write model, optimizer, random states, position and history; the file before is replaced in one move."""
    slots = _optimizer_slots(session.optimizer)
    random = random_state.capture()
    tensors: dict[str, object] = {_MODEL + name: value for name, value in session.model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: value for name, value in slots.items() if isinstance(value, Tensor)}
    tensors |= {_TORCH: random.torch} | ({} if random.cuda is None else {_CUDA: random.cuda})
    state = {
        "schema": SCHEMA,
        "step": session.step,
        "loss_sum": session.loss_sum,
        "loss_count": session.loss_count,
        "history": [dataclasses.asdict(measurement) for measurement in session.history],
        "seconds": seconds,
        "optimizer": {name: value for name, value in slots.items() if not isinstance(value, Tensor)},
        "random": {"python": random.python, "numpy": random.numpy},
    }
    write_tensors(path, tensors, {"bnfold": json.dumps(state)})
    session.saved_step = session.step


def restore(path: Path, session: Session) -> None:
    """Put a session, made anew from the same model and settings, and all random states where `save` found them.

    Raises:
        InputError: not a checkpoint, or not one of this model.
    """
    tensors, metadata = read_tensors(path)
    try:
        state: dict[str, Any] = json.loads(metadata["bnfold"])
        if state["schema"] != SCHEMA:
            raise InputError(f"{path}: schema {state['schema']}, expected {SCHEMA}; use the bnfold that wrote it.")
        session.model.load_state_dict(_under(_MODEL, tensors))
        _restore_optimizer(session.optimizer, {**_under(_OPTIMIZER, tensors), **state["optimizer"]})
        session.history = [Measurement(**line) for line in state["history"]]
        for name in ("step", "loss_sum", "loss_count", "seconds"):
            setattr(session, name, state[name])
        drawn = state["random"]
        random_state.restore(RandomState(tensors[_TORCH], tensors.get(_CUDA), drawn["python"], drawn["numpy"]))
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a checkpoint of this model: {one_line(error)}; start anew with --force."
        ) from error
    session.saved_step = session.step


def _optimizer_slots(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state as ``<parameter number>/<slot>``; its settings follow from the hyperparameters."""
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {f"{number}/{slot}": value for number, slots in state.items() for slot, value in slots.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, slots: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, value in slots.items():
        number, slot = name.split("/", 1)
        state.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
