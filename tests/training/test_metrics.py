import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bnfold.data import Dataset
from bnfold.errors import InputError
from bnfold.training.evaluation import evaluate, evaluate_population
from bnfold.training.losses import resolve_loss
from bnfold.training.metrics import METRICS, WholeMetric, resolve_metrics
from bnfold.training.models import ModelSource, resolve_model

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(size=(23, 7))
LABELS = RANDOM.integers(0, 6, 23)
"""Class 6 never occurs."""

FUNCTIONS = """
import torch

def spread(outputs, labels):
    return (outputs.argmax(1) - labels).float().std()

def pairs(outputs, labels):
    return outputs[0].sum() + outputs[1]["b"].sum() + labels.sum()

def text(outputs, labels):
    return "good"

spread.lower_is_better = True

class Two(torch.nn.Module):
    def forward(self, x):
        return x, {"b": 2 * x}

def near(outputs, labels):
    return (outputs[0][:, 0] - labels).abs().mean()

def build():
    return Two()
"""


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    """A model in a file that has metrics too."""
    (tmp_path / "net.py").write_text(FUNCTIONS)
    return resolve_model(f"{tmp_path / 'net.py'}:build", {}, tmp_path)


def expected(name: str) -> float:
    """Return each metric written out."""
    found = SCORES.argmax(1)
    if name == "accuracy":
        return float((found == LABELS).mean())
    if name == "top-5":
        return float(np.mean([y in row.argsort()[-5:] for row, y in zip(SCORES, LABELS, strict=True)]))
    if name == "mean-iou":
        ious = [((found == c) & (c == LABELS)).sum() / ((found == c) | (c == LABELS)).sum() for c in range(7)
                if ((found == c) | (c == LABELS)).any()]  # fmt: skip
        return float(np.mean(ious))
    log_p = SCORES - np.log(np.exp(SCORES).sum(1, keepdims=True))
    return float(np.exp(-log_p[np.arange(23), LABELS].mean()))


@pytest.mark.parametrize("batch_size", [1, 5, 23])
def test_named_metrics_are_their_formulas(source: ModelSource, batch_size: int) -> None:
    """Over the whole split, whatever the batch."""
    names = ["accuracy", "top-5", "mean-iou", "perplexity"]
    metrics = resolve_metrics(names, source)
    found = evaluate(nn.Identity(), Dataset("d", {"x": SCORES}, LABELS), batch_size, metrics=metrics)
    assert list(found.values) == names
    for name, value in found.values.items():
        assert value == pytest.approx(expected(name), rel=1e-13)
    assert found.accuracy == found.values["accuracy"]
    assert set(METRICS) == {*names, "mean-absolute-error"}


def test_a_loss_of_numbers_has_a_metric_of_numbers(source: ModelSource) -> None:
    """Regression: labels of floats, no accuracy."""
    x, y = SCORES[:, :1], SCORES[:, 1]
    loss, metrics = resolve_loss("mean-squared-error", source), resolve_metrics(["mean-absolute-error"], source)
    found = evaluate(nn.Identity(), Dataset("d", {"x": x}, y), 4, loss=loss, metrics=metrics)
    assert found.loss == pytest.approx(float(((x[:, 0] - y) ** 2).mean()), rel=1e-13)
    assert found.values["mean-absolute-error"] == pytest.approx(float(np.abs(x[:, 0] - y).mean()), rel=1e-13)
    assert math.isnan(found.accuracy)


def test_a_function_sees_the_whole_split_at_once(source: ModelSource) -> None:
    """A standard deviation is not a mean over batches; outputs may be nested; its direction can be turned round."""
    metrics = resolve_metrics([":spread"], source)
    found = evaluate(nn.Identity(), Dataset("d", {"x": SCORES}, LABELS), 4, metrics=metrics)
    # Computed in float32.
    assert found.values["spread"] == pytest.approx((SCORES.argmax(1) - LABELS).std(ddof=1), rel=1e-5)
    metric = metrics["spread"]
    assert isinstance(metric, WholeMetric)
    assert not metric.greater_is_better
    loss, metrics = resolve_loss(":near", source), resolve_metrics([":pairs"], source)
    both = evaluate(source.build(), Dataset("d", {"x": SCORES}, LABELS), 4, loss=loss, metrics=metrics)
    assert both.values["pairs"] == pytest.approx(3 * SCORES.sum() + LABELS.sum(), rel=1e-12)
    assert both.loss == pytest.approx(float(np.abs(SCORES[:, 0] - LABELS).mean()), rel=1e-12)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["accurate"], r"metric: no 'accurate', did you mean 'accuracy'\?"),
        (["accuracy", "accuracy"], "metric: 'accuracy' is given twice"),
        ([":gone"], "no function 'gone'"),
    ],
)
def test_what_is_no_metric_is_refused(source: ModelSource, names: list[str], words: str) -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match=words):
        resolve_metrics(names, source)


def test_a_function_that_returns_no_number_is_one_line(source: ModelSource) -> None:
    """Text is no measure."""
    with pytest.raises(InputError, match=r"metric :text: raised ValueError: could not convert"):
        evaluate(nn.Identity(), Dataset("d", {"x": SCORES}, LABELS), 4, metrics=resolve_metrics([":text"], source))


def test_population_statistics_are_measured_on_a_copy() -> None:
    """The mean and unbiased variance of the training data normalize; the model keeps its own statistics."""
    model = nn.Sequential(nn.BatchNorm1d(7, affine=False, dtype=torch.float64)).train()
    train, test = Dataset("d", {"x": 3 + 2 * SCORES}, LABELS), Dataset("d", {"x": SCORES}, LABELS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = evaluate_population(model, train, test, 23)
    normalized = (SCORES - (3 + 2 * SCORES).mean(0)) / np.sqrt(4 * SCORES.var(0, ddof=1) + 1e-5)
    expected_ = evaluate(nn.Identity(), Dataset("d", {"x": normalized}, LABELS), 23)
    assert found.loss == pytest.approx(expected_.loss, rel=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
