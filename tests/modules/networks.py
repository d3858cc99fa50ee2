"""Small networks as their papers draw them, and what a fold of one is checked against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # the base of all of torch's

import bnfold
from bnfold.folding import FoldReport
from bnfold.graph.capture import capture

EPS = 0.25

TOLERANCE = 1e-9
"""Relative to the largest output, in float64, where an operation rounds by 1.1e-16."""


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """Return the module in float64 and inference mode, every statistic, γ > 0 and β random, ε large."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eps = EPS
            for name in ("weight", "bias", "running_mean", "running_var"):
                tensor = getattr(part, name)  # None without γ and β, or without statistics
                if tensor is not None:
                    nn.init.uniform_(tensor, 0.5 if name in {"weight", "running_var"} else -1.0, 2.0)
    return module.double().eval()


@dataclass(frozen=True)
class Folded:
    """A folded module with its report."""

    module: nn.Module
    report: FoldReport

    @property
    def kept(self) -> list[str]:
        """Names of the normalizations that stay."""
        return [outcome.name for outcome in self.report.batch_norms if not outcome.removed]

    @property
    def normalizations(self) -> list[str]:
        """Names of the normalization modules that are still there."""
        return [name for name, part in self.module.named_modules() if isinstance(part, _BatchNorm)]


def fold_checked(module: nn.Module, *examples: Tensor, dynamic_batch: bool = True) -> Folded:
    """Fold; check that outputs are the same at other batch sizes, that the source is untouched, and the report true."""
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    keys, classes = list(state), [type(part) for part in module.modules()]
    folded, report = bnfold.fold_module(module, examples, dynamic_batch=dynamic_batch)
    assert list(module.state_dict()) == keys
    assert [type(part) for part in module.modules()] == classes
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in state.items())
    assert type(folded) is type(module)
    for count in (1, 5) if dynamic_batch else ():
        assert_same(module, folded, tuple(torch.randn(count, *x.shape[1:], dtype=x.dtype) for x in examples))
    assert_same(module, folded, examples)
    result = Folded(folded, report)
    names = {name for name, _ in module.named_modules()}
    for outcome in report.batch_norms:
        if outcome.name in names:
            identity = type(folded.get_submodule(outcome.name)) is nn.Identity
            assert identity is outcome.removed, outcome
    return result


def assert_same(module: nn.Module, folded: nn.Module, inputs: Sequence[Tensor], tolerance: float = TOLERANCE) -> None:
    """Check that two modules compute the same."""
    with torch.no_grad():
        expected, found = module(*inputs), folded(*inputs)
    assert expected.shape == found.shape
    assert (expected - found).abs().max() <= tolerance * expected.abs().max()


def folded_graph(module: nn.Module, *examples: Tensor) -> tuple[ir.Model, FoldReport]:
    """Return what the ONNX route makes of a module, and its report."""
    model = capture(module, examples, input_names=[f"input_{index}" for index in range(len(examples))])
    return model, bnfold.fold(model)


def evaluate(model: ir.Model, *inputs: Tensor) -> np.ndarray:
    """Return the output of a graph, by onnx's reference implementation."""
    feeds = {f"input_{index}": tensor.numpy() for index, tensor in enumerate(inputs)}
    (output,) = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    return np.asarray(output)


class BasicBlock(nn.Module):
    """ResNet's basic block with a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 7, 3, padding=1, bias=False), nn.BatchNorm2d(7)
        self.downsample = nn.Sequential(nn.Conv2d(3, 7, 1, bias=False), nn.BatchNorm2d(7))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 7, H, W)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class DenseBlock(nn.Module):
    """Two of DenseNet's layers, whose normalizations stand behind Concat and in front of Relu."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(5), nn.Conv2d(5, 8, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, padding=1, bias=False)
        self.norm3, self.conv3 = nn.BatchNorm2d(9), nn.Conv2d(9, 3, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 5, H, W) to (N, 3, H, W)."""
        x = torch.sigmoid(x)
        y = self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))
        return self.conv3(torch.relu(self.norm3(torch.cat([x, y], 1))))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Sequential(nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
            nn.Conv2d(8, 4, 1, bias=False),
            nn.BatchNorm2d(4),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 4, H, W) to the same."""
        return x + self.conv(x)


class SharedHead(nn.Module):
    """One head on two levels; its normalizations are its own, or one a level."""

    def __init__(self, *, levels: int) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)
        self.head, self.predict = nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.Conv2d(5, 2, 1)
        self.bns = nn.ModuleList([nn.BatchNorm2d(5) for _ in range(levels)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 2)."""
        levels = torch.relu(self.fine(x)), torch.relu(self.coarse(nn.functional.avg_pool2d(x, 2)))
        heads = [torch.relu(self.bns[i % len(self.bns)](self.head(level))) for i, level in enumerate(levels)]
        first, second = (self.predict(head).mean((2, 3)) for head in heads)
        return first + 2 * second


class PreActivation(nn.Module):
    """A pre-activation residual block with its stem and its last normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1, self.conv1 = nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.bn3, self.fc = nn.BatchNorm2d(6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 4)."""
        x = self.stem(x)
        x = x + self.conv2(torch.relu(self.bn2(self.conv1(torch.relu(self.bn1(x))))))
        return self.fc(torch.relu(self.bn3(x)).mean((2, 3)))


NETWORKS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "basic-block": (BasicBlock(), (3, 7, 6)),
    "dense-block": (DenseBlock(), (5, 7, 6)),
    "inverted-residual": (InvertedResidual(), (4, 7, 6)),
    "pre-activation": (PreActivation(), (3, 7, 6)),
    "shared-head": (SharedHead(levels=1), (3, 8, 6)),
}
"""Networks with the shape of a sample."""
