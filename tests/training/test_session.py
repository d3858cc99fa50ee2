import math

import numpy as np
import pytest
import torch
from torch import nn

from bnfold.data import Batch
from bnfold.errors import InputError
from bnfold.training.hyperparameters import Device, Hyperparameters, Optimizer, Precision
from bnfold.training.network import choose_device, make_optimizer
from bnfold.training.precision import make_scaler
from bnfold.training.session import Session
from bnfold.training.shares import Share

BATCH = Batch({"x": np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])}, np.array([0, 2, 1]))


def linear() -> nn.Linear:
    """Return a small linear network in float64 with fixed weights."""
    model = nn.Linear(2, 3).double()
    with torch.no_grad():
        model.weight.copy_(torch.arange(6.0).reshape(3, 2) / 7)
        model.bias.zero_()
    return model


def gradient(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of the mean cross-entropy by its formula, (softmax − onehot)ᵀ·x/N."""
    x = BATCH.inputs["x"]
    scores = x @ weight.T + bias
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert BATCH.labels is not None
    delta = (p - np.eye(3)[BATCH.labels]) / len(x)
    return delta.T @ x, delta.sum(axis=0)


def test_sgd_with_momentum_and_decay_follows_its_formula() -> None:
    """v ← μ·v + g + λ·w, w ← w − α·v, with the rate given at each step, written out in NumPy."""
    settings = Hyperparameters(momentum=0.8, weight_decay=0.3, learning_rate=9.0)
    model = linear()
    session = Session(model, make_optimizer(model, settings))
    w, b = model.weight.detach().numpy().copy(), model.bias.detach().numpy().copy()
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    for rate in (0.5, 0.25, 0.7):
        session.update([Share(BATCH)], rate)
        gw, gb = gradient(w, b)
        vw, vb = 0.8 * vw + gw + 0.3 * w, 0.8 * vb + gb + 0.3 * b
        w, b = w - rate * vw, b - rate * vb
    # Some dozens of float64 roundings of 1.1e-16 relative to values near 1.
    np.testing.assert_allclose(model.weight.detach().numpy(), w, rtol=0, atol=1e-14)
    np.testing.assert_allclose(model.bias.detach().numpy(), b, rtol=0, atol=1e-14)


def test_adamw_takes_its_first_step_by_its_formula() -> None:
    """The first step is w·(1 − α·λ) − α·g/(|g| + ε): bias correction makes it so."""
    model = linear()
    session = Session(model, make_optimizer(model, Hyperparameters(optimizer=Optimizer.ADAMW, weight_decay=0.5)))
    w = model.weight.detach().numpy().copy()
    g, _ = gradient(w, np.zeros(3))
    session.update([Share(BATCH)], 0.1)
    np.testing.assert_allclose(
        model.weight.detach().numpy(), w * (1 - 0.05) - 0.1 * g / (np.abs(g) + 1e-8), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("norm", [0.05, 100.0])
def test_a_clipped_gradient_keeps_its_direction(norm: float) -> None:
    """The step is −α·g·min(1, norm/|g|), |g| over all parameters together."""
    model = linear()
    session = Session(model, make_optimizer(model, Hyperparameters(momentum=0)), clip_norm=norm)
    w, b = model.weight.detach().numpy().copy(), model.bias.detach().numpy().copy()
    gw, gb = gradient(w, b)
    session.update([Share(BATCH)], 0.5)
    length = np.sqrt((gw**2).sum() + (gb**2).sum())
    factor = min(1, norm / length)
    assert 0.05 < length < 100
    # torch adds 1e-6 to the norm that it divides by.
    np.testing.assert_allclose(model.weight.detach().numpy(), w - 0.5 * factor * gw, rtol=0, atol=1e-6 / length)
    np.testing.assert_allclose(model.bias.detach().numpy(), b - 0.5 * factor * gb, rtol=0, atol=1e-6 / length)


def test_shares_weigh_by_their_samples() -> None:
    """Two unequal parts of a minibatch move the weights as the whole does."""
    whole, cut = linear(), linear()
    Session(whole, make_optimizer(whole, Hyperparameters())).update([Share(BATCH)], 0.3)
    assert BATCH.labels is not None
    parts = [
        Share(Batch({"x": BATCH.inputs["x"][part]}, BATCH.labels[part]), weight)
        for part, weight in ((slice(2), 2 / 3), (slice(2, 3), 1 / 3))
    ]
    Session(cut, make_optimizer(cut, Hyperparameters())).update(parts, 0.3)
    np.testing.assert_allclose(cut.weight.detach().numpy(), whole.weight.detach().numpy(), rtol=0, atol=1e-15)


def test_float16_is_scaled_and_an_overflow_is_no_step() -> None:
    """Gradients that overflow in float16 leave the weights alone and halve the scale; training goes on."""
    model = linear().float()
    session = Session(model, make_optimizer(model, Hyperparameters()), precision=Precision.FP16)
    session.scaler = make_scaler(Precision.FP16, torch.device("cpu"))
    assert session.scaler is not None
    batch = Share(Batch({"x": BATCH.inputs["x"].astype(np.float32)}, BATCH.labels))
    before = model.weight.detach().clone()
    scaled = session.scaler.scale(torch.ones(()))  # the first call makes the state
    assert float(scaled) > 1
    state = session.scaler.state_dict()
    session.scaler.load_state_dict({**state, "scale": 2.0**40})
    session.update([batch], 0.1)
    assert torch.equal(model.weight, before)
    assert session.scaler.state_dict()["scale"] == 2.0**39
    session.scaler.load_state_dict({**state, "scale": 2.0**10})
    session.update([batch], 0.1)
    assert not torch.equal(model.weight, before)
    assert session.step == 2


def test_the_mean_loss_is_that_since_it_was_taken_last() -> None:
    """Losses are averaged over the steps in between, the step count goes on."""
    model = linear()
    session = Session(model, make_optimizer(model, Hyperparameters()))
    losses = [session.update([Share(BATCH)], 0.1) for _ in range(3)]
    assert session.take_mean_loss() == sum(losses) / 3
    last = session.update([Share(BATCH)], 0.1)
    assert (session.take_mean_loss(), session.step) == (last, 4)
    assert losses[0] > losses[2] > 0


def test_a_loss_that_is_not_finite_moves_nothing() -> None:
    """The step is neither taken nor counted."""
    model = linear()
    with torch.no_grad():
        model.weight[0, 0] = math.inf
    before = model.bias.clone()
    session = Session(model, make_optimizer(model, Hyperparameters()))
    assert not math.isfinite(session.update([Share(BATCH)], 0.1))
    assert (session.step, session.loss_count) == (0, 0)
    assert torch.equal(model.bias, before)


def test_frozen_parameters_are_left_alone_and_nothing_to_train_is_refused() -> None:
    """Only what asks for a gradient is trained, weight decay included; without any such there is no training."""
    frozen = linear().requires_grad_(False)
    model = nn.Sequential(frozen, nn.Linear(3, 3).double())
    before = frozen.weight.clone()
    Session(model, make_optimizer(model, Hyperparameters(weight_decay=0.5))).update([Share(BATCH)], 0.1)
    assert torch.equal(frozen.weight, before)
    model.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter that asks for a gradient"):
        make_optimizer(model, Hyperparameters())


def test_the_device_is_what_was_asked_for() -> None:
    """CPU is the CPU; CUDA is CUDA or a clear refusal, never another device; auto is one of the two."""
    assert choose_device(Device.CPU) == torch.device("cpu")
    if torch.cuda.is_available():
        assert choose_device(Device.CUDA).type == choose_device(Device.AUTO).type == "cuda"
    else:
        assert choose_device(Device.AUTO).type == "cpu"
        with pytest.raises(InputError, match=r"^device: no cuda here \(torch 2.*\); use cpu or auto\.$"):
            choose_device(Device.CUDA)


class WithoutLength(nn.Module):
    """Calls a layer; other than a Sequential it has no length."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, 2)`` to ``(N, 3)``."""
        return self.layer(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler imports what torch has deprecated
def test_any_compiled_network_can_be_trained() -> None:
    """A compiled module has a length if its model has one, and fails at the question if not."""
    model, plain = WithoutLength(), linear()
    compiled = torch.compile(model, backend="eager")
    assert isinstance(compiled, nn.Module)
    session = Session(model, make_optimizer(model, Hyperparameters()), network=compiled)
    expected = Session(plain, make_optimizer(plain, Hyperparameters())).update([Share(BATCH)], 0.1)
    assert session.update([Share(BATCH)], 0.1) == expected
    assert torch.equal(model.layer.weight, plain.weight)
