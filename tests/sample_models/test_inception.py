"""BN-Inception against the table of the paper's appendix."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bnfold.nn import BATCH_NORM_TYPES
from bnfold.training import resolve_model
from bnfold.training.hyperparameters import Hyperparameters

# Inputs, 1×1, 3×3 reduce, 3×3, double 3×3 reduce, double 3×3, projection; 0 where the module has none.
_TABLE = {
    "3a": (192, 64, 64, 64, 64, 96, 32),
    "3b": (256, 64, 64, 96, 64, 96, 64),
    "3c": (320, 0, 128, 160, 64, 96, 0),
    "4a": (576, 224, 64, 96, 96, 128, 128),
    "4b": (576, 192, 96, 128, 96, 128, 128),
    "4c": (576, 160, 128, 160, 128, 160, 128),
    "4d": (608, 96, 128, 192, 160, 192, 128),
    "4e": (608, 0, 128, 192, 192, 256, 0),
    "5a": (1056, 352, 192, 320, 160, 224, 128),
    "5b": (1024, 352, 192, 320, 192, 224, 128),
}
_STEM = [(3, 64, 7), (64, 64, 1), (64, 192, 3)]


def _units(row: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return inputs, outputs and kernel of each convolution of a row."""
    inputs, single, reduce, out, double_reduce, double, projection = row
    units = [(inputs, single, 1), (inputs, reduce, 1), (reduce, out, 3), (inputs, double_reduce, 1)]
    units += [(double_reduce, double, 3), (double, double, 3), (inputs, projection, 1)]
    return [unit for unit in units if unit[1]]


def build(builtins: Path, name: str, **args: Any) -> nn.Module:
    """Return a new network of a built-in name."""
    return resolve_model(name, args, builtins).build()


def test_every_convolution_is_the_tables(builtins: Path) -> None:
    """Channel counts and kernels of all 69 convolutions, each with a normalization, and the number of parameters."""
    model = build(builtins, "bn-inception")
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    found = [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in convolutions]
    expected = [*_STEM, *(unit for row in _TABLE.values() for unit in _units(row))]
    assert found == expected
    assert sum(isinstance(module, BATCH_NORM_TYPES) for module in model.modules()) == len(expected) == 69
    # Weights, γ and β of each convolution, and the head over 1000 classes.
    parameters = sum(inputs * outputs * kernel**2 + 2 * outputs for inputs, outputs, kernel in expected)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters + 1024 * 1000 + 1000 == 11_285_224


def test_every_module_has_the_tables_size(builtins: Path) -> None:
    """On 224×224 images the stem leaves 28×28, and the modules that halve leave 14×14 and 7×7."""
    model = build(builtins, "bn-inception", width=0.03125).eval()
    features = model.get_submodule("stem")(torch.zeros(1, 3, 224, 224))
    for name in _TABLE:
        features = model.get_submodule(f"inception.module_{name}")(features)
        side = {"3a": 28, "3b": 28, "5a": 7, "5b": 7, "4e": 7}.get(name, 14)
        assert features.shape[2:] == (side, side), name


@pytest.mark.parametrize("image", [28, 32])
def test_small_images_meet_the_same_structure(builtins: Path, image: int) -> None:
    """Without downsampling in the stem, 28×28 images are the sizes of the table."""
    model = build(builtins, "bn-inception", width=0.03125, channels=1, downsampling=1).eval()
    features = model.get_submodule("inception")(model.get_submodule("stem")(torch.zeros(1, 1, image, image)))
    assert features.shape[2:] == (image // 4, image // 4)
    assert sum(isinstance(module, BATCH_NORM_TYPES) for module in model.modules()) == 69


def _settings(builtins: Path, name: str) -> Hyperparameters:
    return resolve_model(name, {}, builtins).recipe.hyperparameters({})


def test_the_variants_differ_as_in_the_paper(builtins: Path) -> None:
    """Rates of 1, 5 and 30; a fifth of the L2 penalty, six times the decay, other minibatches, no Dropout, no LRN."""
    names = ("inception", "bn-baseline", "bn-x5", "bn-x30", "bn-x5-sigmoid", "inception-sigmoid")
    settings = {name: _settings(builtins, name) for name in names}
    models = {name: build(builtins, name) for name in names}
    rates = [settings[name].learning_rate for name in names]
    assert rates == [0.0015, 0.0015, 0.0075, 0.045, 0.0075, 0.0015]
    for name in names:
        accelerated = name.startswith("bn-x")
        kinds = [type(module) for module in models[name].modules()]
        normalizations = sum(isinstance(module, BATCH_NORM_TYPES) for module in models[name].modules())
        assert normalizations == (0 if name.startswith("inception") else 69)
        assert settings[name].shuffle is accelerated
        assert settings[name].weight_decay == pytest.approx(1e-4 / (5 if accelerated else 1))
        # The recipe has three digits of 8/6.
        assert settings[name].decay_epochs == pytest.approx(8 / 6 if accelerated else 8, rel=1e-3)
        assert (nn.LocalResponseNorm in kinds) is not accelerated
        (dropout,) = (module for module in models[name].modules() if isinstance(module, nn.Dropout))
        assert dropout.p == (0 if accelerated else 0.4)
        assert (nn.Sigmoid in kinds) is name.endswith("sigmoid")
        assert settings[name].batch_size == 32


def test_the_ensemble_averages_probabilities(builtins: Path) -> None:
    """In evaluation the output is the mean of the members' softmax; in training the loss is the sum of theirs."""
    torch.manual_seed(0)
    model = build(builtins, "ensemble", width=0.03125, members=3)
    loss = resolve_model("ensemble", {}, builtins).member("members_loss")
    images, labels = torch.rand(4, 1, 28, 28), torch.tensor([1, 5, 0, 9])
    members = list(model.get_submodule("members").children())
    model.eval()
    with torch.no_grad():
        alone = torch.stack([member(images).softmax(dim=1) for member in members]).mean(dim=0)
        averaged = model(images)
        torch.testing.assert_close(averaged, alone)
        torch.testing.assert_close(loss(averaged, labels), nn.functional.nll_loss(alone.log(), labels))
        model.train()
        for member in members:
            member.get_submodule("dropout").eval()  # draws from the random state
        scores = model(images)
    model.get_submodule("members").eval()
    per_member = sum(nn.functional.nll_loss(scores[:, :, place], labels) for place in range(3))
    torch.testing.assert_close(loss(scores, labels), per_member)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(4, 3))


def test_the_ensembles_members_differ_as_in_the_paper(builtins: Path) -> None:
    """Larger initial weights, Dropout of 5 and 10 %, and BN for each place in the last module."""
    model = build(builtins, "ensemble", width=0.03125)
    members = list(model.get_submodule("members").children())
    assert [member.get_submodule("dropout").p for member in members] == [0, 0, 0.05, 0.1, 0.05, 0]
    each_place = [sum(type(module).__name__ == "PerActivation" for module in member.modules()) for member in members]
    assert each_place == [0, 0, 0, 0, 0, 7]
    large, small = (members[place].state_dict()["inception.module_5b.branches.0.0.weight"] for place in (1, 0))
    assert large.std() > 1.2 * small.std()
