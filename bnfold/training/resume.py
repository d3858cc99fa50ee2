"""Whether a training that was broken off, or is finished, can go on with what it is given now."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bnfold.errors import InputError
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.record import Record
from bnfold.training.schedules import NEEDS_END

_LENGTH = ("epochs", "steps")


def require_same(folder: Path, old: Record, new: Record) -> None:
    """Check that the run ``old`` and the one asked for, ``new``, are one: the same model, data and hyperparameters.

    ``epochs`` or ``steps`` may have grown where the schedule does not look at the end: what comes out is then what
    the longer training would have given from the start.

    Raises:
        InputError: names everything that differs.
    """
    differences = [
        *_model(old["model"], new["model"]),
        *_data(old["data"], new["data"]),
        *_settings(folder, old, new),
        *_functions(old.get("functions", {}), new["functions"]),
        *_weights(old.get("weights"), new["weights"]),
    ]
    if differences:
        found = "; ".join(differences)
        raise InputError(f"{folder}: cannot resume: {found}; give what the run was made with, or --force a new one.")


def _model(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if (old["factory"], old.get("sha256")) != (new["factory"], new["sha256"]):
        yield _changed("model", old["spec"], new["spec"])
    if old.get("args") != new["args"]:
        yield f"the model's arguments are {new['args']}, were {old.get('args')}"


def _data(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old.get("digest") != new["digest"]:
        yield _changed("data", old["spec"], new["spec"])


def _functions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for spec, content in new.items():
        if spec in old and old[spec] != content:
            yield _changed("function", spec, spec)


def _weights(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
    before, now = (None if weights is None else weights["sha256"] for weights in (old, new))
    if before != now:
        words = ["random" if weights is None else weights["path"] for weights in (new, old)]
        same = words[0] == words[1]
        yield f"the content of {words[0]} has changed" if same else f"initial weights are {words[0]}, were {words[1]}"


def _changed(what: str, old: str, new: str) -> str:
    return f"the content of {what} {new} has changed" if old == new else f"the {what} is {new}, was {old}"


def _settings(folder: Path, old: Record, new: Record) -> Iterator[str]:
    before, now = (Hyperparameters.of(each["hyperparameters"], where=str(folder)).to_dict() for each in (old, new))
    for name, value in now.items():
        if value != before[name] and not (name in _LENGTH and _may_grow(before[name], value, now["schedule"])):
            yield f"{name.replace('_', '-')} is {value}, was {before[name]}"


def _may_grow(before: Any, now: Any, schedule: object) -> bool:
    return None not in (before, now) and before < now and schedule not in NEEDS_END
