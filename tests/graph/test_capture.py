"""Tests of ``bnfold.graph.capture``: the graph is the network, and nothing but the network."""

import copy
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.graph.capture import capture
from bnfold.verify.oracle import Oracle
from tests.graph.networks import EPS, NETWORKS, Residual, randomized

TOLERANCE = 1e-12
"""Relative to the largest output: 2⁻⁵³ times the fan-in (at most 100) times the layers (at most 12), times 8."""


def example(name: str, batch: int = 2) -> Tensor:
    """Return random input for a network of `NETWORKS`."""
    return torch.randn(batch, *NETWORKS[name][1], generator=torch.Generator().manual_seed(batch))


@cache
def captured(name: str, opset: int = 20) -> tuple[nn.Module, ir.Model]:
    """Return a network of `NETWORKS` and its graph, which tests only read."""
    network = randomized(NETWORKS[name][0]())
    return network, capture(network, (example(name),), input_names=["x"], opset=opset)


def count(module: nn.Module, _: object) -> None:
    """Change a buffer, as a hook before ``forward``."""
    module.get_buffer("calls").add_(1)


class Module(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        """Call the function."""
        assert callable(self.function)
        return self.function(*inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_computes_what_the_network_computes_in_double_at_any_batch_size(name: str) -> None:
    """Traced at a batch of 2, the graph in float64 equals the module in double at batches of 1, 2 and 7."""
    network, model = captured(name)
    double, oracle = copy.deepcopy(network).double(), Oracle(model)
    for batch in (1, 2, 7):
        x = example(name, batch)
        expected = double(x.double()).detach().numpy()
        result = oracle.run({"x": x.numpy()})["output"]
        np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_an_example_of_one_sample_does_not_fix_the_batch() -> None:
    """Traced with one sample, the graph takes seven."""
    network = randomized(Residual())
    model = capture(network, (example("residual", 1),), input_names=["x"])
    assert model.graph.inputs[0].shape == ir.Shape(["batch", 3, 6, 8])
    assert model.graph.outputs[0].shape == ir.Shape(["batch", 4])
    assert Oracle(model).run({"x": example("residual", 7).numpy()})["output"].shape == (7, 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_order_in_memory_leaves_no_trace(channels: int) -> None:
    """Channels-last images and weights, also of a single channel, make the same graph as others, and come back."""
    conv = nn.Conv2d(channels, 4, 3)
    network = nn.Sequential(conv, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = torch.randn(2, 5, 6, channels).permute(0, 3, 1, 2)
    operators = ["Conv", "BatchNormalization", "ReduceMean", "Reshape"]
    for weight_format in (torch.contiguous_format, torch.channels_last):
        conv.weight.data = conv.weight.data.contiguous(memory_format=weight_format)
        strides = [tensor.stride() for tensor in network.parameters()]
        model = capture(network, (images,), input_names=["x"])
        assert [node.op_type for node in model.graph] == operators
        assert [tensor.stride() for tensor in network.parameters()] == strides


def test_a_fixed_batch_is_the_examples() -> None:
    """With dynamic_batch=False every extent is a number, also a batch of 1."""
    network = randomized(Residual())
    model = capture(network, (example("residual", 1),), input_names=["x"], dynamic_batch=False)
    assert model.graph.inputs[0].shape == ir.Shape([1, 3, 6, 8])


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_norms_and_weights_are_the_modules(name: str) -> None:
    """Every BN is a BatchNormalization, and every initializer is, by name and bit for bit, in the state dict."""
    network, model = captured(name)
    batch_norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    operators = Counter(node.op_type for node in model.graph)
    assert operators["BatchNormalization"] == len(batch_norms)
    state = {key: value.numpy() for key, value in network.state_dict().items() if "num_batches" not in key}
    stored = {key: value.const_value for key, value in model.graph.initializers.items()}
    assert state.keys() <= stored.keys()
    for key in state:
        tensor = stored[key]
        assert tensor is not None
        assert tensor.numpy().tobytes() == state[key].tobytes()
    assert not any(value.numpy().dtype.kind == "f" for key, value in stored.items() if value and key not in state)


def test_nodes_are_named_after_the_part_they_are_in() -> None:
    """A user finds the nodes of ``shortcut.1`` under that name."""
    _, model = captured("residual")
    names = {node.name: node for node in model.graph}
    assert names["shortcut.1/BatchNormalization"].inputs[1] is model.graph.initializers["shortcut.1.weight"]
    assert names["conv1/Conv"].outputs[0].name == "conv1/Conv_output"
    assert len(names) == len(list(model.graph))


def test_a_convolution_without_bias_has_none() -> None:
    """The zeros that torch's exporter invents are gone; a real bias, even of zeros, stays."""
    network = randomized(Residual())
    with torch.no_grad():
        network.get_parameter("conv2.bias").zero_()
    model = capture(network, (example("residual"),), input_names=["x"])
    inputs = {node.name: [value.name for value in node.inputs if value] for node in model.graph}
    assert inputs["conv1/Conv"] == ["x", "conv1.weight"]
    assert inputs["conv2/Conv"][1:] == ["conv2.weight", "conv2.bias"]


def test_shared_weights_stay_shared_under_their_first_name() -> None:
    """Two layers with one weight read one initializer, called as ``named_parameters`` calls it."""
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    model = capture(nn.Sequential(first, second).eval(), (torch.ones(2, 5),), input_names=["x"])
    assert set(model.graph.initializers) == {"0.weight", "0.bias", "1.bias"}
    assert len(model.graph.initializers["0.weight"].uses()) == 2


def test_a_part_called_twice_is_named_twice() -> None:
    """At two places it has two names, called twice from one it gets a number; both calls read the same weight."""
    part = nn.Linear(5, 5)
    again = Module(lambda x: part(part(x)))
    again.add_module("part", part)
    for network, names in ((nn.Sequential(part, nn.ReLU(), part), "0/Gemm 2/Gemm"), (again, "part/Gemm part/Gemm_1")):
        model = capture(network.eval(), (torch.ones(2, 5),), input_names=["x"])
        gemms = [node for node in model.graph if node.op_type == "Gemm"]
        assert [node.name for node in gemms] == names.split()
        assert gemms[0].inputs[1] is gemms[1].inputs[1]


def test_several_inputs_of_several_types_share_the_batch() -> None:
    """Integer and float inputs are named in order and vary together."""
    embedding = nn.Embedding(13, 6)
    network = Module(lambda index, x: embedding(index) + x)
    network.add_module("embedding", embedding)
    inputs = (torch.tensor([[3, 12, 0]]), torch.randn(1, 3, 6))
    model = capture(network.eval(), inputs, input_names=["index", "x"])
    assert [(value.name, value.dtype) for value in model.graph.inputs] == [
        ("index", ir.DataType.INT64),
        ("x", ir.DataType.FLOAT),
    ]
    feeds = {"index": np.array([[1, 2, 3]] * 5), "x": np.zeros((5, 3, 6), np.float32)}
    result = Oracle(model).run(feeds)["output"]
    np.testing.assert_array_equal(result, embedding(torch.tensor(feeds["index"])).detach().numpy().astype(np.float64))


def test_outputs_may_be_inputs_and_one_another() -> None:
    """An input that is handed on, twice, becomes two outputs of a valid graph."""
    model = capture(Module(lambda x: (x, x, x + 1)).eval(), (torch.ones(2, 3),), input_names=["x"])
    assert [value.name for value in model.graph.outputs] == ["output_0", "output_1", "output_2"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_a_parameter_that_is_an_output_keeps_its_name() -> None:
    """The output is a copy under its own name, the initializer is the parameter."""
    network = Module(lambda x: (x * network.weight, network.weight))
    network.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    model = capture(network.eval(), (torch.ones(2, 3),), input_names=["x"], output_names=["y", "w"])
    assert list(model.graph.initializers) == ["weight"]
    assert [value.name for value in model.graph.outputs] == ["y", "w"]


def test_the_module_comes_back_as_it_was() -> None:
    """State, flags, hooks and gradients are untouched, also where forward changes a buffer."""
    network = randomized(Residual())
    network.register_buffer("calls", torch.zeros(()))
    network.get_parameter("fc.weight").requires_grad_(False)
    network.register_forward_pre_hook(count)
    before = copy.deepcopy(network.state_dict())
    flags = [(name, tensor.requires_grad, tensor.grad) for name, tensor in network.named_parameters()]
    capture(network, (example("residual"),), input_names=["x"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert flags == [(name, tensor.requires_grad, tensor.grad) for name, tensor in network.named_parameters()]
    assert not any(part.training for part in network.modules())
    assert len(network._forward_pre_hooks) == 1


def test_the_graph_does_not_follow_the_module() -> None:
    """A later edit of the module's weights does not reach the graph."""
    network = randomized(nn.Linear(5, 3))
    model = capture(network, (torch.ones(2, 5),), input_names=["x"])
    before = ir.to_proto(model).SerializeToString()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.fill_(7)
    assert ir.to_proto(model).SerializeToString() == before


def test_the_file_holds_no_trace_of_the_machine() -> None:
    """No stack traces, local paths or exporter tables."""
    _, model = captured("residual")
    content = ir.to_proto(model).SerializeToString()
    for trace in (b"pkg.torch", b"stack_trace", b".py", b"pkg.onnxscript", str(Path.cwd()).encode()):
        assert trace not in content


@pytest.mark.parametrize("opset", [18, 25])
def test_writes_the_opset_that_is_asked_for(opset: int) -> None:
    """The graph is valid in it and computes the same."""
    network, model = captured("residual", opset)
    assert model.opset_imports[""] == opset
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    x = example("residual")
    expected = copy.deepcopy(network).double()(x.double()).detach().numpy()
    np.testing.assert_allclose(Oracle(model).run({"x": x.numpy()})["output"], expected, rtol=0, atol=TOLERANCE * 8)


def test_a_batch_norm_without_running_statistics_is_captured_as_what_it_is() -> None:
    """With track_running_stats off it normalizes by the batch, also in the graph: its parameters are not constants."""
    network = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, eps=EPS, track_running_stats=False)).eval()
    model = capture(network, (torch.randn(4, 5),), input_names=["x"])
    x = torch.randn(6, 5)
    expected = copy.deepcopy(network).double()(x.double()).detach().numpy()
    np.testing.assert_allclose(Oracle(model).run({"x": x.numpy()})["output"], expected, rtol=0, atol=TOLERANCE * 8)
    assert not any("running" in name for name in model.graph.initializers)


def test_parametrized_weights_are_stored_as_what_they_are() -> None:
    """Under the name that they have in the module, which stays parametrized."""
    module = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3, bias=False)),
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 2, 1)),
    ).eval()
    x = torch.randn(2, 3, 6, 6)
    model = capture(module, (x,), input_names=["x"])
    assert [node.op_type for node in model.graph] == ["Conv", "Conv"]
    assert set(model.graph.initializers) == {"0.weight", "1.weight", "1.bias"}
    assert nn.utils.parametrize.is_parametrized(module[0])
    np.testing.assert_allclose(Oracle(model).run({"x": x.numpy()})["output"], module(x).detach(), rtol=1e-4, atol=1e-5)


def test_training_mode_is_refused() -> None:
    """A module in training mode, and one with a part in it, which the message names."""
    network = Residual()
    with pytest.raises(InputError, match=r"^Residual: expected inference mode, found training mode; call \.eval\(\)"):
        capture(network, (example("residual"),), input_names=["x"])
    network.eval().shortcut.train()
    with pytest.raises(InputError, match=r"^Residual, part shortcut: expected inference mode"):
        capture(network, (example("residual"),), input_names=["x"])


class Branching(nn.Module):
    """Takes a branch that depends on the data."""

    def forward(self, x: Tensor) -> Tensor:
        """Negate what is negative on the whole."""
        if x.sum() > 0:
            return x
        return -x


def test_control_flow_on_data_is_refused_with_the_line() -> None:
    """One line: what, where, and what to do."""
    with pytest.raises(InputError, match=r"^Branching: .*, at test_capture\.py:\d+: .*control flow depends") as caught:
        capture(Branching().eval(), (torch.ones(2, 3),), input_names=["x"])
    assert "\n" not in str(caught.value)
    line = int(str(caught.value).split("test_capture.py:")[1].split(":")[0])
    assert "if x.sum() > 0" in Path(__file__).read_text().splitlines()[line - 1]


def test_a_network_that_fixes_the_batch_is_refused_unless_asked_for() -> None:
    """It is not specialized silently; with a fixed batch it is captured."""
    network = Module(lambda x: x.view(2, -1) + 1).eval()
    with pytest.raises(InputError, match="the batch size is a constant inside it"):
        capture(network, (torch.ones(2, 3),), input_names=["x"])
    model = capture(network, (torch.ones(2, 3),), input_names=["x"], dynamic_batch=False)
    assert model.graph.outputs[0].shape == ir.Shape([2, 3])


def fail(_: Tensor) -> Tensor:
    """Raise as a broken network would."""
    raise ValueError("the first line\nthe second")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (fail, "the first line.$"),
        (lambda x: x @ torch.ones(5, 5), "torch cannot capture it"),
        (lambda x: torch.linalg.svd(x)[0], "No ONNX function found for .*svd"),
        (lambda x: (x, 3), "forward returns 3, expected tensors only"),
    ],
)
def test_what_cannot_be_captured_is_refused_with_the_reason(function: object, reason: str) -> None:
    """Errors of the network's own, operators without a counterpart, outputs that are no tensors."""
    with pytest.raises(InputError, match=reason) as caught:
        capture(Module(function).eval(), (torch.ones(2, 3),), input_names=["x"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("examples", "options", "message"),
    [
        ((torch.ones(2, 3),), {"input_names": ["x", "y"]}, "input names: expected one for each of 1 inputs, found 2"),
        (
            (torch.ones(2, 3),),
            {"output_names": ["y", "z"]},
            "output names: expected one for each of 1 outputs, found 2",
        ),
        ((torch.ones(2, 3),), {"output_names": ["x"]}, "x is used twice"),
        ((torch.ones(2, 3),), {"opset": 13}, "opset 13: torch exports opsets 18 to 25"),
        ((torch.ones(()),), {}, r"one batch size of 1 or more on the first axis, found x \(\)"),
        ((torch.ones(0, 3),), {}, r"found x \(0, 3\)"),
        ((torch.ones(2, 3), torch.ones(4, 3)), {"input_names": ["x", "y"]}, r"found x \(2, 3\), y \(4, 3\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    examples: tuple[Tensor, ...], options: dict[str, object], message: str
) -> None:
    """Names, opset and batch sizes, before torch sees them."""
    with pytest.raises(InputError, match=message):
        capture(Module(lambda *inputs: inputs[0] + 1).eval(), examples, **{"input_names": ["x"], **options})  # pyright: ignore[reportArgumentType]  (any option of capture)


def test_nothing_is_printed() -> None:
    """Neither torch's exporter nor a refusal of torch.export writes to the terminal, and warnings may be errors."""
    script = (
        "import torch\n"
        "from bnfold.errors import InputError\n"
        "from bnfold.graph.capture import capture\n"
        "from tests.graph.networks import mlp\n"
        "from tests.graph.test_capture import Branching\n"
        "capture(mlp().eval(), (torch.ones(2, 11),), input_names=['x'])\n"
        "try:\n"
        "    capture(Branching().eval(), (torch.ones(2, 3),), input_names=['x'])\n"
        "except InputError:\n"
        "    pass\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")
