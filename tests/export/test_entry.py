"""Tests of ``bnfold.export_bundle``: one call from a graph or a module to a folder that verifies."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bnfold
from bnfold.export import Precision
from bnfold.verify import verify_bundle
from tests.folding.builder import Builder

IMAGES = np.random.default_rng(0).normal(size=(8, 3, 6, 6)).astype(np.float32)


def test_a_module_of_two_inputs(tmp_path: Path) -> None:
    """Inputs are named in the order of the arguments; the module stays as it was; the bundle verifies."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, image: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
            return self.bn(self.conv(image)).mean((2, 3)) + shift

    module = Net().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    inputs = {"image": torch.from_numpy(IMAGES), "shift": np.arange(32, dtype=np.float32).reshape(8, 4)}
    bundle = bnfold.export_bundle(module, tmp_path / "b", inputs, opset=17)
    assert [port.name for port in bundle.manifest.inputs] == ["image", "shift"]
    assert bundle.manifest.opset == 17
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert verify_bundle(tmp_path / "b").exit_code == 0


@pytest.mark.parametrize("several", [False, True])
def test_inputs_without_names_have_those_of_the_arguments(tmp_path: Path, *, several: bool) -> None:
    """As `bnfold.fold` takes them: one tensor, or a tuple, with ``*more`` numbered; the folder may be a string."""

    class Net(nn.Module):
        def forward(self, image: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
            return torch.relu(image) + sum(more)

    x = torch.from_numpy(IMAGES).requires_grad_()
    bundle = bnfold.export_bundle(Net().eval(), str(tmp_path / "b"), (x, x, x) if several else x)
    names = ["image", "more_0", "more_1"] if several else ["image"]
    assert [port.name for port in bundle.manifest.inputs] == names


def test_a_graphs_inputs_without_names(tmp_path: Path) -> None:
    """In the graph's order; as many as it has."""
    b = Builder(dtype=np.float32)
    graph = b.model(b.conv(b.input(1, 3, 6, 6), 3, 4, 3, 3))
    bundle = bnfold.export_bundle(graph, tmp_path / "b", IMAGES)
    assert [port.name for port in bundle.manifest.inputs] == [graph.graph.inputs[0].name]
    with pytest.raises(bnfold.InputError, match=r"inputs: the model takes 1 \(\w+\), found 2"):
        bnfold.export_bundle(graph, tmp_path / "c", (IMAGES, IMAGES))


def test_a_graph_stays_as_it_was(tmp_path: Path) -> None:
    """In another precision, too; a second call needs to be told to replace the first one's folder."""
    b = Builder(dtype=np.float32)
    graph = b.model(b.batch_norm(b.conv(b.input(1, 3, 6, 6), 3, 4, 3, 3), 4))
    nodes = [node.op_type for node in graph.graph]
    arrays = {"x": IMAGES}
    bnfold.export_bundle(graph, tmp_path / "b", arrays, precision=Precision.FLOAT16)
    assert [node.op_type for node in graph.graph] == nodes
    with pytest.raises(bnfold.InputError, match="exists"):
        bnfold.export_bundle(graph, tmp_path / "b", arrays)
    bnfold.export_bundle(graph, tmp_path / "b", arrays, force=True)


def test_a_graph_with_a_sequence_of_tensors(tmp_path: Path) -> None:
    """Which the oracle passes on, and traces and judgements leave out."""
    b = Builder(dtype=np.float32)
    x = b.input("N", 3, 6, 6)
    some = b("SequenceConstruct", b("Relu", b.batch_norm(b.conv(x, 3, 3, 1, 1), 3)), x)
    bnfold.export_bundle(b.model(b("ConcatFromSequence", some, axis=1)), tmp_path / "b", IMAGES)
    assert (tmp_path / "b" / "trace.safetensors").exists()
    assert verify_bundle(tmp_path / "b").exit_code == 0


def test_a_precision_may_be_named_by_its_string(tmp_path: Path) -> None:
    """As an objective may; and an unknown one is an error before anything is written."""
    b = Builder(dtype=np.float32)
    graph = b.model(b.conv(b.input(1, 3, 6, 6), 3, 4, 3, 3))
    bnfold.export_bundle(graph, tmp_path / "b", IMAGES, precision="float16")  # pyright: ignore[reportArgumentType]
    stored = bnfold.load(tmp_path / "b" / "model.onnx").graph.initializers.values()
    assert {str(value.dtype) for value in stored if value.shape and len(value.shape) == 4} == {"FLOAT16"}
    with pytest.raises(ValueError, match="float17"):
        bnfold.export_bundle(graph, tmp_path / "c", IMAGES, precision="float17")  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "c").exists()


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    """With what would do."""
    with pytest.raises(bnfold.InputError, match=r"expected an ONNX model \(bnfold.load\) or a torch module, found str"):
        bnfold.export_bundle("model.onnx", tmp_path / "b", {"x": IMAGES})
