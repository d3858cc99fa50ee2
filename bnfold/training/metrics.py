"""What is measured on the test split: one table from the name to sums over samples and what becomes of them.

A built-in metric is a vector of sums, which add over batches and replicas, and a formula for the end. A function of the
user's gets the outputs and labels of the whole split at once, so that it may be anything: an average precision, an F1.

    accuracy              part of the labels whose score is the largest
    top-5                 part of the labels whose score is among the five largest
    mean-iou              mean over the classes that occur of |found ∩ true| / |found ∪ true|
    perplexity            e to the mean cross-entropy
    mean-absolute-error   mean of |output − label|
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bnfold.data.factories import one_line
from bnfold.errors import BnfoldError, InputError
from bnfold.training.functions import UserFunction, resolve_function
from bnfold.training.losses import alike
from bnfold.training.models import ModelSource


@dataclass(frozen=True)
class SummedMetric:
    """A metric that is a formula of sums over samples.

    Attributes:
        sums: of a batch's outputs (N, classes, *target) and labels (N, *target), as a vector of float64.
        finish: the metric from the sums over all batches.
        greater_is_better: which way is up.
        of_classes: whether labels have to be class numbers.
    """

    sums: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[Tensor], float]
    greater_is_better: bool = True
    of_classes: bool = True


@dataclass(frozen=True)
class WholeMetric:
    """A function of the user's: ``function(outputs, labels)``, all of a split, on the CPU, to a number.

    Its attribute ``lower_is_better``, if it has one that is true, says which way is up.
    """

    function: UserFunction
    of_classes: bool = False

    @property
    def greater_is_better(self) -> bool:
        """Which way is up."""
        return not getattr(self.function.call, "lower_is_better", False)

    def value(self, outputs: Any, labels: Tensor) -> float:
        """Return the metric.

        Raises:
            InputError: the function raises, or returns no number.
        """
        try:
            return float(self.function.call(outputs, labels))
        except BnfoldError:
            raise
        except Exception as error:
            raise InputError(f"metric {self.function.spec}: raised {one_line(error)}.") from error


Metric = SummedMetric | WholeMetric


def _mean_of(items: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def sums(outputs: Tensor, labels: Tensor) -> Tensor:
        values = items(outputs, labels).double()
        return torch.stack([values.sum(), values.new_tensor(values.numel())])

    return sums


def _ratio(sums: Tensor) -> float:
    return float(sums[0] / sums[1])


def _among(outputs: Tensor, labels: Tensor, k: int) -> Tensor:
    best = outputs.topk(min(k, outputs.shape[1]), dim=1).indices
    return (best == labels.unsqueeze(1)).any(dim=1)


def _confusion(outputs: Tensor, labels: Tensor) -> Tensor:
    classes = outputs.shape[1]
    pairs = labels.flatten() * classes + outputs.argmax(dim=1).flatten()
    return pairs.bincount(minlength=classes**2).double()


def _mean_iou(confusion: Tensor) -> float:
    table = confusion.reshape(round(confusion.numel() ** 0.5), -1)
    both, either = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    return float((both / either)[either > 0].mean())


def _surprise(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none")


METRICS: Mapping[str, SummedMetric] = {
    "accuracy": SummedMetric(_mean_of(lambda outputs, labels: outputs.argmax(dim=1) == labels), _ratio),
    "top-5": SummedMetric(_mean_of(lambda outputs, labels: _among(outputs, labels, 5)), _ratio),
    "mean-iou": SummedMetric(_confusion, _mean_iou),
    "perplexity": SummedMetric(_mean_of(_surprise), lambda sums: float((sums[0] / sums[1]).exp()), False),
    "mean-absolute-error": SummedMetric(
        _mean_of(lambda o, y: (o - alike(y, o)).abs()), _ratio, False, of_classes=False
    ),
}


def resolve_metrics(specs: Sequence[str], source: ModelSource) -> dict[str, Metric]:
    """Return the metrics by name, a function's being its own name.

    Raises:
        InputError: a name that is none, or given twice.
    """
    found: dict[str, Metric] = {}
    for spec in specs:
        known = METRICS.get(spec)
        metric = known or WholeMetric(resolve_function(spec, "metric", list(METRICS), source))
        name = spec if known else spec.rpartition(":")[2]
        if name in found or name == "loss":
            raise InputError(f"metric: {name!r} is {'a name of its own' if name == 'loss' else 'given twice'}.")
        found[name] = metric
    return found
