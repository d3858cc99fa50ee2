"""A session on disk, in one safetensors file: tensors as tensors, the rest as JSON in its metadata.

The order of the data needs no place: it follows from seed and step (`bnfold.training.order`). Random states are kept
for each process; where a training goes on with more of them, the new ones begin anew from seed and step.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnfold.data.factories import one_line
from bnfold.errors import InputError
from bnfold.training import random_state
from bnfold.training.random_state import RandomState
from bnfold.training.record import Measurement
from bnfold.training.session import Session
from bnfold.training.tensors import read_tensors, write_tensors

SCHEMA = "bnfold.checkpoint/2"
_MODEL, _OPTIMIZER, _RANDOM = "model/", "optimizer/", "random/"


def save(path: Path, session: Session, *, seconds: float) -> None:
    """Write model, optimizer, random states, position and history; the file before is replaced in one move.

    Every process has to call this; the first one writes.
    """
    every = session.replicas.gather(random_state.capture())
    session.saved_step = session.step
    if session.replicas.is_first:
        _write(path, session, every, seconds)


def _write(path: Path, session: Session, every: Sequence[RandomState], seconds: float) -> None:
    slots = _optimizer_slots(session.optimizer)
    tensors: dict[str, object] = {_MODEL + name: value for name, value in session.model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: value for name, value in slots.items() if isinstance(value, Tensor)}
    for rank, random in enumerate(every):
        tensors[_random(rank, "torch")] = random.torch
        tensors |= {} if random.cuda is None else {_random(rank, "cuda"): random.cuda}
    state = {
        "schema": SCHEMA,
        "step": session.step,
        "loss_sum": session.loss_sum,
        "loss_count": session.loss_count,
        "history": [dataclasses.asdict(measurement) for measurement in session.history],
        "seconds": seconds,
        "optimizer": {name: value for name, value in slots.items() if not isinstance(value, Tensor)},
        "scaler": None if session.scaler is None else session.scaler.state_dict(),
        "random": [{"python": random.python, "numpy": random.numpy} for random in every],
    }
    write_tensors(path, tensors, {"bnfold": json.dumps(state)})


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
        if session.scaler is not None:
            session.scaler.load_state_dict(state["scaler"])
        _restore_random(session, tensors, state["random"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a checkpoint of this model: {one_line(error)}; start anew with --force."
        ) from error
    session.saved_step = session.step


def _random(rank: int, name: str) -> str:
    return f"{_RANDOM}{rank}/{name}"


def _restore_random(session: Session, tensors: Mapping[str, Tensor], every: Sequence[Mapping[str, Any]]) -> None:
    rank = session.replicas.rank
    if rank >= len(every):
        random_state.seed_replica(session.step, rank)
        return
    drawn = every[rank]
    states = tensors[_random(rank, "torch")], tensors.get(_random(rank, "cuda"))
    random_state.restore(RandomState(*states, drawn["python"], drawn["numpy"]))


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
