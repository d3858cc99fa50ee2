"""What decides the outcome of a training run, apart from the model and the data."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from bnfold.data.factories import did_you_mean
from bnfold.errors import InputError

E = TypeVar("E", bound=StrEnum)
Check = Callable[[float], bool]


class Optimizer(StrEnum):
    """SGD: with momentum, weight decay as an L2 penalty. ADAMW: Adam with decoupled weight decay."""

    SGD = "sgd"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """How the learning rate moves; formulas in `bnfold.training.schedules`."""

    CONSTANT = "constant"
    STEP = "step"
    EXPONENTIAL = "exponential"
    COSINE = "cosine"


class Device(StrEnum):
    """AUTO is CUDA where there is one, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


DEFAULT_EPOCHS = 10


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """The settings of a run; check themselves when made, and take enumerations as their values (``"sgd"``) too.

    Attributes:
        epochs: passes over the training data; `DEFAULT_EPOCHS` if neither this nor ``steps`` is given.
        steps: updates, in place of ``epochs``.
        batch_size: samples an update. Every minibatch is full: what is left of an epoch is left out, and meets its turn
            in another order.
        learning_rate: the rate that the schedule starts from.
        schedule: how the rate moves.
        decay: factor by which ``step`` and ``exponential`` lower the rate …
        decay_epochs: … every so many epochs.
        optimizer: which rule updates the weights.
        momentum: of SGD; AdamW takes no notice of it.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW) on every trainable parameter.
        seed: of the initial weights, the order of the data and all randomness while training.
        device: where to train.

    Raises:
        InputError: a value of the wrong type or out of range, ``epochs`` and ``steps`` together.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.1
    schedule: Schedule = Schedule.CONSTANT
    decay: float = 0.1
    decay_epochs: float = 10.0
    optimizer: Optimizer = Optimizer.SGD
    momentum: float = 0.9
    weight_decay: float = 0.0
    seed: int = 0
    device: Device = Device.AUTO

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise InputError(f"epochs ({self.epochs}) and steps ({self.steps}): give one of them.")
        if self.epochs is None and self.steps is None:
            self._set("epochs", DEFAULT_EPOCHS)
        for name in ("epochs", "steps"):
            if getattr(self, name) is not None:
                self._check_integer(name, at_least=1)
        self._check_integer("batch_size", at_least=1)
        self._check_integer("seed", at_least=0)
        self._check_number("learning_rate", "above 0", lambda rate: rate > 0)
        self._check_number("decay", "above 0 and at most 1", lambda factor: 0 < factor <= 1)
        self._check_number("decay_epochs", "above 0", lambda epochs: epochs > 0)
        self._check_number("momentum", "at least 0 and below 1", lambda momentum: 0 <= momentum < 1)
        self._check_number("weight_decay", "at least 0", lambda decay: decay >= 0)
        for name, kind in (("schedule", Schedule), ("optimizer", Optimizer), ("device", Device)):
            self._set(name, _member(kind, name, getattr(self, name)))

    @classmethod
    def of(cls, values: Mapping[str, object], *, where: str) -> "Hyperparameters":
        """Return those of a recipe, a configuration or a run's record.

        Raises:
            InputError: a name that is none, or a bad value; the message begins with ``where``.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise InputError(f"{where}: no hyperparameter {name!r}{did_you_mean(name, names)}; {', '.join(names)}.")
        try:
            return cls(**values)  # pyright: ignore[reportArgumentType]  (checked by the instance itself)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def to_dict(self) -> dict[str, object]:
        """Return the values by name, fit for JSON; `of` takes them back."""
        return dataclasses.asdict(self)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # only while the instance is made

    def _check_integer(self, name: str, *, at_least: int) -> None:
        value: object = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value < 2**63:
            raise InputError(f"{_option(name)}: expected an integer of at least {at_least}, found {value!r}.")

    def _check_number(self, name: str, expected: str, holds: Check) -> None:
        value: object = getattr(self, name)
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
            or not holds(value)
        ):
            raise InputError(f"{_option(name)}: expected a number {expected}, found {value!r}.")
        self._set(name, float(value))


def _member(kind: type[E], name: str, value: object) -> E:
    try:
        return kind(value)
    except ValueError:
        choices = [member.value for member in kind]
        hint = did_you_mean(str(value), choices)
        raise InputError(f"{_option(name)}: no {value!r}{hint}; expected {', '.join(choices)}.") from None


def _option(name: str) -> str:
    return name.replace("_", "-")
