import ast
import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bnfold.data import Split, load_data
from bnfold.nn import BATCH_NORM_TYPES
from bnfold.training import Run, builtin_names, evaluate, resolve_model, train
from bnfold.training.forward import require_fit
from bnfold.training.losses import resolve_loss
from bnfold.training.metrics import resolve_metrics

NAMES = builtin_names(Path(__file__).parents[2] / "sample_models")


def build(builtins: Path, name: str, **args: object) -> nn.Module:
    """Return a new network of a built-in name."""
    return resolve_model(name, args, builtins).build()


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the normalizations of a network."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORM_TYPES)]


@pytest.mark.parametrize(
    ("name", "count"), [("digits-cnn", 4), ("residual", 9), ("sigmoid-mlp", 3), ("bn-inception", 69), ("bn-x5", 69)]
)
def test_networks_normalize_with_bnfold(builtins: Path, name: str, count: int) -> None:
    """Every normalization is one of bnfold's, and there are as many as documented."""
    found = batch_norms(build(builtins, name))
    assert len(found) == count
    assert {type(module).__module__.split(".")[0] for module in found} == {"bnfold"}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_its_network_and_data(builtins: Path, name: str) -> None:
    """Without arguments every network takes its recipe's data, and loss and metrics take what it returns."""
    source = resolve_model(name, {}, builtins)
    settings = source.recipe.hyperparameters({})
    if name == "bn-inception":  # the paper's size, for images that no package carries
        assert source.recipe.data is None
        return
    assert source.recipe.data is not None
    metrics = resolve_metrics(settings.metrics or (), source)
    data = load_data(source.recipe.data, Split.TEST).take(3)
    require_fit(source.build(), data, resolve_loss(settings.loss, source), metrics.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_documented_and_has_a_default(builtins: Path, name: str) -> None:
    """A network can be built without arguments, and its docstring names each that it takes."""
    path = builtins / f"{name.replace('-', '_')}.py"
    build_function = next(node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == "build")
    assert isinstance(build_function, ast.FunctionDef)
    arguments = [argument.arg for argument in build_function.args.args]
    assert len(build_function.args.defaults) == len(arguments) > 0
    docstring = inspect.cleandoc(ast.get_docstring(build_function) or "")
    assert all(f"\n    {argument}: " in docstring for argument in arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_linear_layer_before_a_normalization_has_no_bias(builtins: Path, name: str) -> None:
    """Behind a linear layer β takes the bias's role: whatever it would add is subtracted again with the mean."""
    sequences = [list(module) for module in build(builtins, name).modules() if isinstance(module, nn.Sequential)]
    pairs = [pair for layers in sequences for pair in pairwise(layers) if isinstance(pair[1], BATCH_NORM_TYPES)]
    before = [layer for layer, _ in pairs if not isinstance(layer, nn.ReLU)]
    assert [layer for layer in before if getattr(layer, "bias", None) is not None and hasattr(layer, "weight")] == []


@pytest.mark.parametrize(
    ("name", "args", "sample", "classes"),
    [
        ("digits-cnn", {"classes": 3, "channels": 2, "width": 5}, (2, 8, 8), 3),
        ("sigmoid-mlp", {"classes": 4, "in_features": 35, "hidden_layers": 2, "hidden_units": 9}, (5, 7), 4),
        ("sigmoid-mlp", {"hidden_layers": 0}, (1, 8, 8), 10),
        ("residual", {"classes": 6, "channels": 3, "width": 4, "stages": 2, "blocks": 3}, (3, 9, 7), 6),
    ],
)
def test_arguments_shape_the_network(
    builtins: Path, name: str, args: dict[str, Any], sample: tuple[int, ...], classes: int
) -> None:
    """Sizes, depth and number of classes are what the arguments say."""
    assert build(builtins, name, **args).eval()(torch.zeros(2, *sample)).shape == (2, classes)


def test_the_papers_network_has_the_papers_sizes(builtins: Path) -> None:
    """Three layers of 100 sigmoids from a small Gaussian; without BN there are biases in place of normalizations."""
    torch.manual_seed(0)
    model = build(builtins, "sigmoid-mlp", in_features=784, init_std=0.05)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(100, 784), (100, 100), (100, 100), (10, 100)]
    assert sum(isinstance(module, nn.Sigmoid) for module in model.modules()) == 3
    # 99,400 draws: the standard deviation is known to about 1/√(2·99400) = 0.22 %; five of that.
    drawn = torch.cat([layer.weight.flatten() for layer in linear])
    assert drawn.std().item() == pytest.approx(0.05, rel=0.011)
    plain = build(builtins, "sigmoid-mlp", batch_norm=False)
    assert batch_norms(plain) == []
    assert all(module.bias is not None for module in plain.modules() if isinstance(module, nn.Linear))


def test_shortcuts_project_only_where_shapes_change(builtins: Path) -> None:
    """A block that keeps its shape passes its input on; the others project it by 1×1 convolutions with BN."""
    model = build(builtins, "residual", blocks=2)
    shortcuts = [module for name, module in model.named_modules() if name.endswith("shortcut")]
    kinds = [[type(layer).__name__ for layer in shortcut.children()] for shortcut in shortcuts]
    projection = ["Conv2d", "BatchNorm2d"]
    assert kinds == [[], [], projection, [], projection, []]


@pytest.mark.parametrize(("name", "accuracy"), [("digits-cnn", 0.97), ("residual", 0.97), ("sigmoid-mlp", 0.95)])
def test_recipes_reach_their_accuracy(builtins: Path, tmp_path: Path, name: str, accuracy: float) -> None:
    """A network trained as its file recommends knows the test digits, and the run that it leaves does too."""
    source = resolve_model(name, {}, builtins)
    assert source.recipe.data == "digits"
    result = train(source, source.recipe.data, source.recipe.hyperparameters({"device": "cpu"}), tmp_path / "run")
    assert result.final.metrics["accuracy"] >= accuracy
    model = Run.open(tmp_path / "run").load_model(builtins)
    assert evaluate(model, load_data("digits", Split.TEST), 90).accuracy == result.final.test_accuracy
