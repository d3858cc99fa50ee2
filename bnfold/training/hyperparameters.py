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


class Precision(StrEnum):
    """FLOAT32: all of it. BF16, FP16: autocast; weights, statistics and loss stay float32, FP16 scales the loss."""

    FLOAT32 = "float32"
    BF16 = "bf16"
    FP16 = "fp16"


class Keep(StrEnum):
    """Which weights a run ends with: those of the last update, or of the best measurement."""

    LAST = "last"
    BEST = "best"


DEFAULT_EPOCHS = 10


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """The settings of a run; check themselves when made, and take enumerations as their values (``"sgd"``) too.

    Attributes:
        epochs: passes over the training data; `DEFAULT_EPOCHS` if neither this nor ``steps`` is given.
        steps: updates, in place of ``epochs``; 0 to keep the weights that a training starts from.
        batch_size: samples an update, over all processes. Every minibatch is full: what is left of an epoch is left
            out, and meets its turn in another order.
        accumulate: parts that a minibatch goes through the network in, one after the other, to save memory; Batch
            Normalization sees one part at a time.
        shuffle: draw a new order each epoch; else every epoch repeats the first one's, and its minibatches.
        augment: names of `bnfold.data.augment`, applied to training samples in this order.
        loss: a name of `bnfold.training.losses`, ``FILE.py:FUNCTION``, or ``:FUNCTION`` of the model's own file.
        metrics: names of `bnfold.training.metrics` or functions likewise; None for accuracy where the loss is the
            cross-entropy, else none.
        learning_rate: the rate that the schedule starts from.
        schedule: how the rate moves.
        decay: factor by which ``step`` and ``exponential`` lower the rate …
        decay_epochs: … every so many epochs.
        optimizer: which rule updates the weights.
        momentum: of SGD; AdamW takes no notice of it.
        weight_decay: L2 penalty (SGD) or decoupled decay (AdamW) on every trainable parameter.
        warmup_epochs: over which the rate rises in a line from 0 to the schedule's (P. Goyal et al., 2017).
        clip_norm: the largest Euclidean norm of all gradients together; None for any.
        precision: of the network's arithmetic in training.
        evaluate_every: steps between measurements; None for one at the end of each epoch.
        population_statistics: measure with recomputed population statistics too, on a copy of the network.
        monitor: which measure decides what is best, ``loss`` or a metric's name; None for the first metric, without any
            the loss.
        patience: measurements without a better one after which training stops; None for never.
        keep: which weights the run ends with.
        channels_last: keep images and their weights in memory channel by channel of each pixel.
        compile: run the network through torch.compile.
        deterministic: take only algorithms that give the same bits each time; an error where there is none.
        seed: of the initial weights, the order of the data and all randomness while training.
        device: where to train.

    Raises:
        InputError: a value of the wrong type or out of range, ``epochs`` and ``steps`` together.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    shuffle: bool = True
    augment: tuple[str, ...] = ()
    loss: str = "cross-entropy"
    metrics: tuple[str, ...] | None = None
    learning_rate: float = 0.1
    schedule: Schedule = Schedule.CONSTANT
    decay: float = 0.1
    decay_epochs: float = 10.0
    optimizer: Optimizer = Optimizer.SGD
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    clip_norm: float | None = None
    precision: Precision = Precision.FLOAT32
    evaluate_every: int | None = None
    population_statistics: bool = False
    monitor: str | None = None
    patience: int | None = None
    keep: Keep = Keep.LAST
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = False
    seed: int = 0
    device: Device = Device.AUTO

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise InputError(f"epochs ({self.epochs}) and steps ({self.steps}): give one of them.")
        if self.epochs is None and self.steps is None:
            self._set("epochs", DEFAULT_EPOCHS)
        for name in ("epochs", "steps", "evaluate_every", "patience"):
            if getattr(self, name) is not None:
                self._check_integer(name, at_least=0 if name == "steps" else 1)
        self._check_integer("batch_size", at_least=1)
        self._check_integer("accumulate", at_least=1)
        if self.accumulate > self.batch_size:
            raise InputError(f"accumulate: {self.accumulate} parts of a minibatch of {self.batch_size} samples.")
        self._check_integer("seed", at_least=0)
        self._check_switches()
        self._check_texts()
        self._check_number("learning_rate", "above 0", lambda rate: rate > 0)
        self._check_number("decay", "above 0 and at most 1", lambda factor: 0 < factor <= 1)
        self._check_number("decay_epochs", "above 0", lambda epochs: epochs > 0)
        self._check_number("momentum", "at least 0 and below 1", lambda momentum: 0 <= momentum < 1)
        self._check_number("weight_decay", "at least 0", lambda decay: decay >= 0)
        self._check_number("warmup_epochs", "at least 0", lambda epochs: epochs >= 0)
        if self.clip_norm is not None:
            self._check_number("clip_norm", "above 0", lambda norm: norm > 0)
        for name, kind in _CHOICES:
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

    def _check_switches(self) -> None:
        for name in ("shuffle", "population_statistics", "channels_last", "compile", "deterministic"):
            value: object = getattr(self, name)
            if not isinstance(value, bool):
                raise InputError(f"{_option(name)}: expected true or false, found {value!r}.")

    def _check_texts(self) -> None:
        for name in ("loss", "monitor"):
            value: object = getattr(self, name)
            if not isinstance(value, str) and not (name == "monitor" and value is None):
                raise InputError(f"{_option(name)}: expected text, found {value!r}.")
        for name in ("augment", "metrics"):
            value = getattr(self, name)
            if value is None and name == "metrics":
                continue
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
                raise InputError(f"{_option(name)}: expected a list of texts, found {value!r}.")
            self._set(name, tuple(value))

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


_CHOICES: tuple[tuple[str, type[StrEnum]], ...] = (
    ("schedule", Schedule),
    ("optimizer", Optimizer),
    ("device", Device),
    ("precision", Precision),
    ("keep", Keep),
)


def _member(kind: type[E], name: str, value: object) -> E:
    try:
        return kind(value)
    except ValueError:
        choices = [member.value for member in kind]
        hint = did_you_mean(str(value), choices)
        raise InputError(f"{_option(name)}: no {value!r}{hint}; expected {', '.join(choices)}.") from None


def _option(name: str) -> str:
    return name.replace("_", "-")
