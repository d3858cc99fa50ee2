"""How good a model is on labelled data."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from bnfold.data.dataset import Dataset
from bnfold.training.forward import call, device_of, evaluating, require_fit, to_labels, to_tensors


@dataclass(frozen=True)
class Metrics:
    """Mean cross-entropy in nats and part of the labels met, in [0, 1]."""

    loss: float
    accuracy: float


def evaluate(model: nn.Module, dataset: Dataset, batch_size: int) -> Metrics:
    """Return the metrics of ``model`` in evaluation mode, wherever its parameters live; every sample counts once.

    Raises:
        InputError: the data has no labels, or does not fit the model.
    """
    require_fit(model, dataset)
    device = device_of(model)
    loss, correct, count = 0.0, 0, 0
    with evaluating(model), torch.no_grad():
        for batch in dataset.batches(batch_size):
            assert batch.labels is not None
            scores, labels = call(model, to_tensors(batch.inputs, device)), to_labels(batch.labels, device)
            loss += float(functional.cross_entropy(scores.double(), labels, reduction="sum"))
            correct += int((scores.argmax(dim=1) == labels).sum())
            count += labels.numel()
    return Metrics(loss / count, correct / count)
