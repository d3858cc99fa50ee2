import math
from pathlib import Path

import pytest
import torch

from bnfold.errors import InputError
from bnfold.training.losses import LOSSES, resolve_loss
from bnfold.training.models import ModelSource, resolve_model

SCORES = torch.tensor([[2.0, -1.0], [0.5, 0.0], [-1.0, 3.0]], dtype=torch.float64)

FUNCTIONS = """
import torch

def tripled(outputs, labels):
    return 3 * (outputs["a"] - labels).square().mean()

def vector(outputs, labels):
    return outputs["a"]

def raising(outputs, labels):
    raise RuntimeError("on purpose")

def build():
    return torch.nn.Identity()
"""


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    """A model in a file that has losses too."""
    (tmp_path / "net.py").write_text(FUNCTIONS)
    return resolve_model(f"{tmp_path / 'net.py'}:build", {}, tmp_path)


def expected(name: str) -> float:
    """Return each loss of the scores and the labels 0, 1, 1 or their like, written out."""
    rows, labels = SCORES.tolist(), [0, 1, 1]
    if name == "cross-entropy":
        return sum(math.log(sum(map(math.exp, row))) - row[y] for row, y in zip(rows, labels, strict=True)) / 3
    pairs = [(o, y) for row, y in zip(rows, labels, strict=True) for o in row]
    formulas = {
        "binary-cross-entropy": lambda o, y: math.log(1 + math.exp(o)) - y * o,
        "mean-squared-error": lambda o, y: (o - y) ** 2,
        "mean-absolute-error": lambda o, y: abs(o - y),
    }
    return sum(formulas[name](o, y) for o, y in pairs) / 6


@pytest.mark.parametrize("name", LOSSES)
def test_named_losses_are_their_formulas(source: ModelSource, name: str) -> None:
    """Means over all values, computed in plain numbers."""
    classes = torch.tensor([0, 1, 1])
    labels = classes if name == "cross-entropy" else classes[:, None].expand(3, 2)
    loss = resolve_loss(name, source)
    # A handful of roundings of 1.1e-16 relative.
    assert float(loss(SCORES, labels)) == pytest.approx(expected(name), rel=1e-14)
    assert loss.of_classes == (name == "cross-entropy")


def test_labels_take_the_outputs_shape_or_are_refused(source: ModelSource) -> None:
    """(N,) beside (N, 1) is one number each; what torch would broadcast into another loss is an error."""
    loss = resolve_loss("mean-squared-error", source)
    assert float(loss(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1]))) == 2.5
    with pytest.raises(InputError, match=r"outputs are \(3, 2\), labels \(3,\); they have to be alike"):
        loss(SCORES, torch.tensor([0, 1, 1]))


@pytest.mark.parametrize("spec", ["{file}:tripled", ":tripled"])
def test_a_function_of_a_file_is_a_loss(source: ModelSource, spec: str) -> None:
    """By its file, or in the model's own; it gets whatever the model returns, and the file's hash is kept."""
    loss = resolve_loss(spec.format(file=source.path), source)
    assert float(loss({"a": torch.tensor([1.0, 3.0])}, torch.tensor([0, 1]))) == 7.5
    assert not loss.of_classes
    assert loss.function is not None
    assert loss.function.sha256 == source.sha256


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cross-entrop", r"loss: no 'cross-entrop', did you mean 'cross-entropy'\?; expected cross-entropy, "),
        ("gone.py:loss", r"gone\.py: no such file"),
        (":lossy", "no function 'lossy'"),
        ("a:b", "loss: no 'a:b'"),
    ],
)
def test_what_is_no_loss_is_refused(source: ModelSource, spec: str, words: str) -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match=words):
        resolve_loss(spec, source)


def test_a_function_that_fails_is_one_line(source: ModelSource) -> None:
    """What it raises, and what is no scalar."""
    outputs = {"a": torch.tensor([1.0, 3.0])}
    with pytest.raises(InputError, match=r"loss :raising: raised RuntimeError: on purpose\.$"):
        resolve_loss(":raising", source)(outputs, torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"loss :vector: returned \(2,\), expected a scalar tensor"):
        resolve_loss(":vector", source)(outputs, torch.tensor([0, 1]))
