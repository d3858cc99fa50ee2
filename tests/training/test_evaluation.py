import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bnfold.data import Dataset
from bnfold.errors import InputError
from bnfold.training.evaluation import evaluate

SCORES = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.5, 0.0, 3.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.1]])
LABELS = np.array([0, 1, 0, 1, 0])


@given(batch_size=st.integers(1, 7))
def test_every_sample_counts_once_whatever_the_batch(batch_size: int) -> None:
    """Loss and accuracy are means over the samples, a short last batch included, equal to the formula in NumPy."""
    metrics = evaluate(nn.Identity(), Dataset("d", {"x": SCORES}, LABELS), batch_size)
    log_probabilities = SCORES - np.log(np.exp(SCORES).sum(axis=1, keepdims=True))
    # A handful of float64 roundings, of 1.1e-16 each.
    assert metrics.loss == pytest.approx(-log_probabilities[np.arange(5), LABELS].mean(), rel=1e-14)
    assert metrics.accuracy == 3 / 5


def test_dense_targets_count_every_pixel() -> None:
    """With one label a pixel the means are over pixels."""
    scores = np.zeros((2, 3, 4, 5), dtype=np.float32)
    scores[:, 1] = 1.0
    labels = np.zeros((2, 4, 5), dtype=np.int64)
    labels[0, :, :2] = 1
    metrics = evaluate(nn.Identity(), Dataset("d", {"x": scores}, labels), 1)
    right, wrong = math.log((math.e + 2) / math.e), math.log(math.e + 2)
    assert metrics.accuracy == 8 / 40
    assert metrics.loss == pytest.approx((8 * right + 32 * wrong) / 40, rel=1e-14)


def test_evaluation_uses_running_statistics_and_changes_nothing() -> None:
    """The model is measured as it will be deployed, and comes back in training mode with its statistics untouched."""
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False, eps=0.5), nn.Dropout(0.9)).double().train()
    model[0].get_buffer("running_var").fill_(3.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    metrics = evaluate(model, Dataset("d", {"x": SCORES}, LABELS), 2)
    expected = evaluate(nn.Identity(), Dataset("d", {"x": SCORES / 2}, LABELS), 5)
    assert metrics.loss == pytest.approx(expected.loss, rel=1e-14)
    assert metrics.accuracy == expected.accuracy
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_data_without_labels_is_refused() -> None:
    """There is no accuracy without labels."""
    with pytest.raises(InputError, match="d: no labels"):
        evaluate(nn.Identity(), Dataset("d", {"x": SCORES}), 2)
