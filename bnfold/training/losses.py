"""What training descends: one table from the loss's name to its formula, each a mean over the samples.

With outputs o, labels y, and p the softmax of o over classes:

    cross-entropy          −log p[y], in nats; y are class numbers, o is (N, classes, *target)
    binary-cross-entropy   −y·log σ(o) − (1 − y)·log(1 − σ(o)), y in [0, 1]
    mean-squared-error     (o − y)²
    mean-absolute-error    |o − y|

A function of the user's, ``function(outputs, labels)``, returns a scalar tensor: the mean over the batch's samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from bnfold.data.factories import one_line
from bnfold.errors import BnfoldError, InputError
from bnfold.training.functions import UserFunction, resolve_function
from bnfold.training.models import ModelSource

CROSS_ENTROPY = "cross-entropy"

LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    CROSS_ENTROPY: functional.cross_entropy,
    "binary-cross-entropy": lambda o, y: functional.binary_cross_entropy_with_logits(o, alike(y, o)),
    "mean-squared-error": lambda o, y: functional.mse_loss(o, alike(y, o)),
    "mean-absolute-error": lambda o, y: functional.l1_loss(o, alike(y, o)),
}


@dataclass(frozen=True)
class Loss:
    """A loss by name; called with a model's outputs, widened to float32 at least, and labels.

    Attributes:
        spec: its name, or where the user's function is.
        function: the user's function; None for a name of the table.
    """

    spec: str = CROSS_ENTROPY
    function: UserFunction | None = None

    @property
    def of_classes(self) -> bool:
        """Whether labels have to be class numbers."""
        return self.spec == CROSS_ENTROPY

    @property
    def default_metrics(self) -> tuple[str, ...]:
        """What is measured besides the loss where nothing is asked for."""
        return ("accuracy",) if self.of_classes else ()

    def __call__(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the mean over the samples, a scalar.

        Raises:
            InputError: the outputs and labels do not fit, the user's function raises, or returns no scalar.
        """
        compute = LOSSES[self.spec] if self.function is None else self.function.call
        try:
            value = compute(outputs, labels)
        except BnfoldError:
            raise
        except Exception as error:
            raise InputError(f"loss {self.spec}: raised {one_line(error)}.") from error
        if not isinstance(value, Tensor) or value.ndim != 0:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"loss {self.spec}: returned {found}, expected a scalar tensor: the mean over the samples."
            )
        return value


def resolve_loss(spec: str, source: ModelSource) -> Loss:
    """Return the loss that ``spec`` names.

    Raises:
        InputError: it names none.
    """
    return Loss(spec) if spec in LOSSES else Loss(spec, resolve_function(spec, "loss", list(LOSSES), source))


def alike(labels: Tensor, outputs: Tensor) -> Tensor:
    """Return labels in the outputs' type and, where only axes of extent 1 differ, shape; else torch would broadcast."""
    if labels.shape != outputs.shape and labels.numel() == outputs.numel():
        labels = labels.reshape(outputs.shape)
    if labels.shape != outputs.shape:
        raise InputError(f"outputs are {tuple(outputs.shape)}, labels {tuple(labels.shape)}; they have to be alike.")
    return labels.to(outputs.dtype)
