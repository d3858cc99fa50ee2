"""Merged networks against their class-specific form: ``python -m benchmarks.merging``.

RepVGG, MobileOne and RepGhost train with parallel branches, and publish for their own classes how to make one
convolution of them. Here each network is captured from torch as it was trained and exported three ways: folded alone,
folded and merged by `bnfold.merging`, which knows none of these classes, and re-parameterized by their authors'
formula. All three go through the same clean-up. Statistics and weights are random.

ONNX Runtime's CPU provider runs them in turn, optimizations on; the ratio is the median over rounds of the time of one
to that of the class-specific form in the same round.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from bnfold.bench import measure_latency
from bnfold.export import optimize
from bnfold.folding import fold
from bnfold.graph import load, save
from bnfold.graph.capture import capture
from bnfold.merging import merge
from bnfold.verify.oracle import Oracle


class Branches(nn.Module):
    """Σ BN(Conv(x)) over kernels, and BN(x) where shapes allow; as in RepVGG and MobileOne."""

    def __init__(self, inputs: int, outputs: int, kernels: list[int], stride: int, groups: int, *, skip: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False) for kernel in kernels
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in kernels)
        self.skip = nn.BatchNorm2d(inputs) if skip and inputs == outputs and stride == 1 else None
        self.sizes = (inputs, outputs, kernels, stride, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        total = sum((norm(conv(x)) for conv, norm in zip(self.convs, self.norms, strict=True)), torch.zeros(()))
        return total if self.skip is None else total + self.skip(x)

    def reparameterized(self) -> nn.Conv2d:
        """Return the one convolution, by the authors' formula: fold each branch, pad its kernel, add."""
        inputs, outputs, kernels, stride, groups = self.sizes
        largest = max(kernels)
        kernel, bias = torch.zeros(outputs, inputs // groups, largest, largest), torch.zeros(outputs)
        for conv, norm, extent in zip(self.convs, self.norms, kernels, strict=True):
            scale, offset = affine(norm)
            weight: Tensor = conv.state_dict()["weight"]
            kernel += functional.pad(weight * scale.reshape(-1, 1, 1, 1), [(largest - extent) // 2] * 4)
            bias += offset
        if self.skip is not None:
            scale, offset = affine(self.skip)
            channels = torch.arange(outputs)
            kernel[channels, channels % (inputs // groups), largest // 2, largest // 2] += scale
            bias += offset
        one = nn.Conv2d(inputs, outputs, largest, stride, largest // 2, groups=groups)
        one.load_state_dict({"weight": kernel, "bias": bias})
        return one


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a and b of a normalization y = a·x + b."""
    state = norm.state_dict()
    scale = state["weight"] / torch.sqrt(state["running_var"] + 1e-5)
    return scale, state["bias"] - scale * state["running_mean"]


def repvgg() -> nn.Module:
    """Return a network of RepVGG blocks: 3×3, 1×1 and identity."""
    widths = [(3, 48, 2), (48, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1), (96, 96, 1), (96, 192, 2), (192, 192, 1)]
    blocks: list[list[nn.Module]] = [
        [Branches(i, o, [3, 1], stride, 1, skip=True), nn.ReLU()] for i, o, stride in widths
    ]
    return network(blocks, 192)


def mobileone() -> nn.Module:
    """Return a network of MobileOne blocks: several depthwise 3×3, a 1×1 and identity, then the same with 1×1."""
    widths = [(3, 32, 2), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    blocks: list[list[nn.Module]] = []
    for i, o, stride in widths:
        blocks.append([Branches(i, i, [3, 3, 3, 3, 1], stride, i, skip=True), nn.ReLU()])
        blocks.append([Branches(i, o, [1, 1, 1, 1], 1, 1, skip=True), nn.ReLU()])
    return network(blocks, 256)


class Ghost(nn.Module):
    """Half of the channels by a 1×1 convolution, the other half from these, as in RepGhost."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.cheap: nn.Module = Branches(outputs, outputs, [3], 1, outputs, skip=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the depthwise branch and the normalized value, rectified."""
        return functional.relu(self.cheap(self.first(x)))


def repghost() -> nn.Module:
    """Return a network of RepGhost modules."""
    widths = [(3, 32, 2), (32, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1), (96, 160, 2), (160, 160, 1)]
    return network([[Ghost(i, o, stride)] for i, o, stride in widths], 160)


class LinearBranches(nn.Module):
    """Σ Linear(x) + x over tokens, one of the branches by way of twice the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.plain = nn.ModuleList(nn.Linear(channels, channels) for _ in range(2))
        self.wide = nn.Sequential(nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        total: Tensor = self.wide(x) + x
        return sum((linear(x) for linear in self.plain), total)

    def reparameterized(self) -> nn.Linear:
        """Return the one layer: a linear function is known by its values at 0 and at the unit vectors."""
        offset: Tensor = self(torch.zeros(1, self.channels))
        columns: Tensor = self(torch.eye(self.channels)) - offset
        one = nn.Linear(self.channels, self.channels)
        one.load_state_dict({"weight": columns.T, "bias": offset[0]})
        return one


class Tokens(nn.Module):
    """(N, C, H, W) → (N, H·W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens."""
        return x.flatten(2).transpose(1, 2)


class Image(nn.Module):
    """(N, H·W, C) → (N, C, H·W, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the image."""
        return x.transpose(1, 2).unsqueeze(-1)


def tokens() -> nn.Module:
    """Return a network of parallel linear layers over tokens, as DBB and RepMLP have them."""
    layers = [layer for _ in range(6) for layer in (LinearBranches(192), nn.ReLU())]
    return network([[nn.Conv2d(3, 192, 16, 16), Tokens(), *layers, Image()]], 192)


def network(blocks: list[list[nn.Module]], channels: int) -> nn.Module:
    """Return blocks, pooling and a classifier, with random statistics."""
    layers = [layer for block in blocks for layer in block]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 100)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, tensor in module.state_dict().items():
                if name in {"weight", "running_var"}:
                    tensor.uniform_(0.5, 1.5)
                elif name in {"bias", "running_mean"}:
                    tensor.normal_()
    return model


def reparameterize(module: nn.Module) -> nn.Module:
    """Replace all branches within a module, in place, and return it."""
    for name, child in module.named_children():
        branches = isinstance(child, Branches | LinearBranches)
        setattr(module, name, child.reparameterized() if branches else reparameterize(child))
    return module


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "RepVGG": repvgg,
    "MobileOne": mobileone,
    "RepGhost": repghost,
    "tokens": tokens,
}


def export(module: nn.Module, x: Tensor, path: Path, *, merged: bool) -> None:
    """Capture, fold, merge if asked to, clean up, save."""
    graph = capture(module, (x,), input_names=["input"])
    fold(graph)
    if merged:
        merge(graph)
    optimize(graph)
    save(graph, path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("networks", nargs="*", default=[*NETWORKS], help="which of them; default: all")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    x = torch.randn(max(arguments.batch, 2), 3, arguments.size, arguments.size)
    title = f"batch {arguments.batch}, {arguments.size}×{arguments.size}, {arguments.rounds} rounds"
    table = Table("network", "form", "nodes", "median ms", "lowest ms", "ratio", "error", title=title)
    for name in arguments.networks:
        module = NETWORKS[name]()
        with tempfile.TemporaryDirectory() as folder:
            paths = {form: Path(folder) / f"{form}.onnx" for form in ("class-specific", "merged", "folded")}
            reference = Oracle(capture(module, (x,), input_names=["input"])).run({"input": x.numpy()[:1]})
            export(module, x, paths["merged"], merged=True)
            export(module, x, paths["folded"], merged=False)
            export(reparameterize(module).eval(), x, paths["class-specific"], merged=False)
            inputs = {"input": x.numpy()[: arguments.batch]}
            report = measure_latency(paths, inputs, rounds=arguments.rounds, warmup=20)
            for form, path in paths.items():
                graph, latency = load(path), report.models[form]
                (expected,), (actual,) = reference.values(), Oracle(graph).run({"input": x.numpy()[:1]}).values()
                error = np.abs(actual - expected).max() / np.abs(expected).max()
                milliseconds = f"{1e3 * latency.median:.3f}", f"{1e3 * latency.lowest:.3f}"
                table.add_row(name, form, str(len(graph.graph)), *milliseconds, f"{latency.ratio:.3f}", f"{error:.1e}")
    Console().print(table)


if __name__ == "__main__":
    main()
