from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from bnfold.data import Batch, Dataset
from bnfold.errors import InputError
from bnfold.training.forward import call, device_of, evaluating, require_fit, require_trainable, to_tensors
from bnfold.training.losses import Loss

X = np.ones((5, 3), dtype=np.float32)
Y = np.array([0, 1, 3, 2, 0])


class TwoInputs(nn.Module):
    """Tells its inputs apart."""

    def forward(self, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor:
        """Return a difference."""
        return (left - right) * scale


class Fixed(nn.Module):
    """Returns what it is told to, whatever comes in."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:  # noqa: ARG002  (on purpose)
        """Return the output."""
        return self.output


def test_one_input_goes_by_position_and_several_by_name() -> None:
    """The name of a single input is the data's own affair; of several, names decide and not their order."""
    assert call(nn.Identity(), {"whatever": torch.ones(1)}).tolist() == [1]
    inputs = {"right": torch.tensor([2.0]), "left": torch.tensor([5.0])}
    assert call(TwoInputs(), inputs).tolist() == [3]


def test_tensors_are_copies() -> None:
    """A model that works in place cannot damage the data, and read-only arrays are fine."""
    array = np.zeros(3)
    array.flags.writeable = False
    to_tensors({"x": array}, torch.device("cpu"))["x"].add_(1)
    assert array.tolist() == [0, 0, 0]


def test_evaluation_mode_ends_where_it_began() -> None:
    """Every module gets its own mode back, frozen ones theirs, also after an exception."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()).train()
    model[0].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, False, True]
    with pytest.raises(RuntimeError, match="inside"), evaluating(model):
        raise RuntimeError("inside")
    assert [module.training for module in model.modules()] == [True, False, True]


def test_a_model_without_parameters_lives_on_the_cpu() -> None:
    """There is a device to send the data to in any case."""
    assert device_of(nn.Flatten()) == torch.device("cpu")


def test_a_check_leaves_the_model_as_it_was() -> None:
    """Neither check moves a parameter, a buffer or a mode."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    require_fit(model, Dataset("d", {"x": X}, Y))
    require_trainable(model, Batch({"x": X}, Y), Loss())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_dense_scores_fit_dense_labels() -> None:
    """One label a pixel takes scores (N, classes, height, width)."""
    images = np.zeros((3, 2, 4, 5), dtype=np.float32)
    require_fit(nn.Conv2d(2, 6, 1), Dataset("d", {"x": images}, np.full((3, 4, 5), 5)))
    with pytest.raises(InputError, match=r"returns torch.float32 \(2, 6, 4, 5\); expected scores \(2, classes, 5, 4\)"):
        require_fit(nn.Conv2d(2, 6, 1), Dataset("d", {"x": images}, np.full((3, 5, 4), 5)))


@pytest.mark.parametrize(
    ("model", "inputs", "labels", "words"),
    [
        (nn.Linear(3, 4), {"x": X}, None, "no labels; training and accuracy need them"),
        (nn.Linear(3, 4), {"x": X}, Y.astype(float), r"labels are float64, expected class numbers \(integers\)"),
        (nn.Linear(3, 4), {"x": X}, Y - 1, "label -1, expected class numbers from 0"),
        (nn.Linear(3, 3), {"x": X}, Y, "label 3, but the model has 3 classes"),
        (nn.Linear(7, 4), {"x": X}, Y, r"the model does not take x float32 \(2, 3\): RuntimeError: mat1 and mat2"),
        (nn.Linear(3, 4), {"x": X.astype(float)}, Y, r"the model does not take x float64 \(2, 3\): RuntimeError"),
        (TwoInputs(), {"x": X}, Y, r"the model does not take x float32 \(2, 3\): TypeError"),
        (
            TwoInputs(),
            {"left": X, "wright": X},
            Y,
            r"inputs left, wright do not fit forward\(left.*: missing a required",
        ),
        (
            TwoInputs(),
            {"left": X, "right": X, "z": X},
            Y,
            "do not fit forward.*: got an unexpected keyword argument 'z'",
        ),
        (
            Fixed({}),
            {"x": X},
            Y,
            r"returns dict; expected scores \(2, classes\) of floats, or loss and metrics of your",
        ),
        (Fixed(None), {"x": X}, Y, "the model returns NoneType; expected scores"),
        (Fixed(torch.zeros(2)), {"x": X}, Y, r"the model returns torch.float32 \(2,\); expected scores \(2, classes\)"),
        (Fixed(torch.zeros(3, 4)), {"x": X}, Y, r"the model returns torch.float32 \(3, 4\); expected scores"),
        (
            Fixed(torch.zeros(2, 4, 6)),
            {"x": X},
            Y,
            r"returns torch.float32 \(2, 4, 6\); expected scores \(2, classes\)",
        ),
        (Fixed(torch.zeros(2, 4).int()), {"x": X}, Y, r"the model returns torch.int32 \(2, 4\); expected .* of floats"),
    ],
)
def test_what_does_not_fit_is_one_line(model: nn.Module, inputs: dict[str, Any], labels: Any, words: str) -> None:
    """Data, model and loss that do not go together are named by what is in the way."""
    with pytest.raises(InputError, match=f"^d: .*{words}") as caught:
        require_fit(model, Dataset("d", inputs, labels))
    assert "\n" not in str(caught.value)


def test_batch_normalization_of_single_values_is_refused() -> None:
    """A minibatch of one has no variance: found before training rather than in it."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    with pytest.raises(InputError, match=r"x float32 \(1, 3\): ValueError: Expected more than 1 value per channel"):
        require_trainable(model, Batch({"x": X[:1]}, Y[:1]), Loss())


def test_a_loss_without_a_gradient_is_refused() -> None:
    """Of frozen parameters, or of outputs that are cut off; found before training."""
    with pytest.raises(InputError, match="loss cross-entropy: has no gradient: it depends on no parameter"):
        require_trainable(nn.Linear(3, 4).requires_grad_(False).train(), Batch({"x": X}, Y), Loss())


class Uncompilable(nn.Module):
    """What torch.compile makes of a network where there is no compiler."""

    def forward(self, _: Tensor) -> Tensor:
        """Raise as it does."""
        raise TorchDynamoException("No working C++ compiler found: g++\n\nSet TORCHDYNAMO_VERBOSE=1 for the trace")


def test_a_missing_compiler_is_told_as_such() -> None:
    """The option is named and what to do, rather than shapes that are not to blame."""
    words = "^compile: TorchDynamoException: No working C.. compiler found: g..; install what is missing, or train with"
    with pytest.raises(InputError, match=words):
        call(Uncompilable(), {"x": torch.zeros(1)})
