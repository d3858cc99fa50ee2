"""Population statistics side by side: torch's update_bn, fvcore's PreciseBN and bnfold's estimators, in one run.

Per network and batch size: the largest relative error of a variance against the float64 statistics of the full batch,
over all channels of the last BN layer; the time over that of a plain pass of the network in inference mode over the
same batches, as it is and channels-last; and that of bnfold's over fvcore's. All are measured in turns; a figure is the
median of the ratios of the rounds.

What self-consistent statistics cost once, however much data there is, is told apart: the time that two samples take,
less that of a plain pass over them. It is capture, planning, and what is done for every layer and not for every sample.

    python -m benchmarks.population [--rounds N] [--samples N] [--only WORD] [--batches N,N]

The tables are Markdown.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import torch
from fvcore.nn.precise_bn import update_bn_stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bnfold.population import Estimator, calibrate

Method = Callable[[nn.Module, Sequence[Tensor]], object]

PLAIN: Final = "plain pass"

LAST: Final = "plain, channels-last"

ONCE: Final = "self-consistent, two samples"

WALK: Final = "of it, beyond what it costs once"

PLAIN_TWO: Final = "plain pass, two samples"

METHODS: Final[dict[str, Method]] = {
    "torch update_bn": lambda model, batches: update_bn(batches, model),
    "fvcore PreciseBN": lambda model, batches: update_bn_stats(model, batches, len(batches)),
    "algorithm-2": lambda model, batches: calibrate(model, batches, estimator=Estimator.ALGORITHM_2),
    "pooled": lambda model, batches: calibrate(model, batches, estimator=Estimator.POOLED),
    "self-consistent": lambda model, batches: calibrate(model, batches),
    "the same, on disk": lambda model, batches: calibrate(model, batches, memory_budget=0),
}


def plain_pass(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Run the network in inference mode."""
    model.eval()
    with torch.no_grad():
        for batch in batches:
            model(batch)


class Residual(nn.Module):
    """x + BN(conv(relu(BN(conv(x))))), then relu."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, C, H, W) for the same."""
        return (values + self.bn2(self.conv2(self.bn1(self.conv1(values)).relu()))).relu()


class BasicBlock(nn.Module):
    """The block of ResNet-18, with a normalized shortcut where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.shortcut = shortcut if stride > 1 else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, after, H/stride, W/stride)."""
        hidden = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(values)))))
        hidden += self.shortcut(values)
        return self.relu(hidden)


def resnet18() -> nn.Module:
    """Return ResNet-18: 20 BN layers, 11.7 million weights."""
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    widths = [64, 64, 128, 256, 512]
    blocks = [
        BasicBlock(before if first else after, after, 2 if first and after > 64 else 1)
        for before, after in pairwise(widths)
        for first in (True, False)
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def block(before: int, after: int, stride: int) -> nn.Sequential:
    """Return a convolution of 3×3, its BN and Relu."""
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def residual_network() -> nn.Module:
    """Return a residual network of 10 BN layers for (N, 3, 32, 32), the last before its head over (N, 96)."""
    stages = [block(3, 24, 1), Residual(24), block(24, 48, 2), Residual(48), block(48, 96, 2), Residual(96)]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 80), nn.BatchNorm1d(80))


def plain_network() -> nn.Module:
    """Return 5 convolutions with BN for (N, 3, 32, 32)."""
    widths, strides = [3, 24, 48, 48, 64, 64], [1, 2, 1, 2, 2]
    layers = zip(pairwise(widths), strides, strict=True)
    return nn.Sequential(*(block(before, after, stride) for (before, after), stride in layers))


def smooth_images(count: int, mean_over_std: float = 0.5, size: int = 32) -> Tensor:
    """Return images (count, 3, size, size) whose pixels hang together and whose contrast varies, as in pictures."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 3, 5, 5, generator=generator)
    pixels = nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    contrast = torch.rand(count, 1, 1, 1, generator=generator) + 0.3
    values = pixels * contrast
    return (values / values.std() + mean_over_std).contiguous()


def last_variance(model: nn.Module) -> Tensor:
    """Return the running variance of the last BN layer."""
    return [buffer for name, buffer in model.named_buffers() if name.endswith("running_var")][-1].double()


def full_batch_variance(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the last variance over one batch of everything in float64.

    Each layer normalizes by the mean and the unbiased variance of its own input, as inference will once they are
    stored; torch's training pass normalizes by the biased variance, which tells where a layer has few values.
    """
    model = copy.deepcopy(model).double().eval()

    def set_statistics(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        axes = [axis for axis in range(args[0].ndim) if axis != 1]
        layer.register_buffer("running_mean", args[0].mean(axes))
        layer.register_buffer("running_var", args[0].var(axes))

    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]  # torch's base
            module.register_forward_pre_hook(set_statistics)
    with torch.no_grad():
        model(inputs.double())
    return last_variance(model)


def measure(
    model: nn.Module, batches: Sequence[Tensor], rounds: int
) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Return the last variance by method, and its seconds in every round, all taking turns."""
    last = [batch.contiguous(memory_format=torch.channels_last) for batch in batches]
    runs: dict[str, tuple[Method, Sequence[Tensor]]] = {name: (method, batches) for name, method in METHODS.items()}
    two = [batches[0][:2]]
    runs |= {PLAIN: (plain_pass, batches), LAST: (plain_pass, last)}
    runs |= {ONCE: (METHODS["self-consistent"], two), PLAIN_TWO: (plain_pass, two)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    variances: dict[str, Tensor] = {}
    for turn in range(rounds + 1):
        for name, (method, given) in runs.items():
            candidate = copy.deepcopy(model).train()
            if given is last:
                for convolution in candidate.modules():
                    if isinstance(convolution, nn.Conv2d):
                        weight = convolution.weight.data
                        convolution.weight.data = weight.contiguous(memory_format=torch.channels_last)
            start = time.perf_counter()
            method(candidate, given)
            if turn > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
            variances[name] = last_variance(candidate)
    seconds[ONCE] = [whole - two for whole, two in zip(seconds[ONCE], seconds[PLAIN_TWO], strict=True)]
    pairs = zip(seconds["self-consistent"], seconds[ONCE], strict=True)
    seconds[WALK] = [whole - once for whole, once in pairs]
    return variances, seconds


def ratio(seconds: dict[str, list[float]], name: str, to: str) -> str:
    """Return the median over the rounds of one time over another."""
    return f"{statistics.median(a / b for a, b in zip(seconds[name], seconds[to], strict=True)):.2f}"


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def report(name: str, model: nn.Module, inputs: Tensor, sizes: Sequence[int], rounds: int) -> None:
    """Print a network's two tables, a row for every batch size."""
    exact = full_batch_variance(model, inputs)
    errors, times = list[str](), list[str]()
    for size in sizes:
        variances, seconds = measure(model, inputs.split(size), rounds)
        off = [f"{((variances[method] - exact).abs() / exact).max().item():.1e}" for method in METHODS]
        took = [ratio(seconds, method, PLAIN) for method in (*METHODS, LAST, WALK)]
        once = f"{1000 * statistics.median(seconds[ONCE]):.0f} ms"
        beside = [ratio(seconds, method, "fvcore PreciseBN") for method in ("pooled", "self-consistent")]
        errors.append(row(str(size), *off))
        times.append(row(str(size), f"{statistics.median(seconds[PLAIN]):.2f} s", *took, once, *beside))
    print(f"\n## {name}\n\nLargest relative error of a variance of the last layer:\n", flush=True)
    print(row("batch", *METHODS), row("--:", *("--:" for _ in METHODS)), *errors, sep="\n")
    print("\nTime over that of a plain pass, whose seconds are in front; of two estimators, over that of PreciseBN:\n")
    beside = ["pooled / PreciseBN", "self-consistent / PreciseBN"]
    titles = ["batch", PLAIN, *METHODS, LAST, WALK, "what it costs once", *beside]
    print(row(*titles), row(*("--:" for _ in titles)), *times, sep="\n", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds a row (default 5)")
    parser.add_argument("--samples", type=int, default=256, help="images in all (default 256)")
    parser.add_argument("--only", default="", metavar="WORD", help="networks whose name has this word")
    parser.add_argument(
        "--batches", default=(2, 8, 32, 100), metavar="N,N", type=_numbers, help="batch sizes (default 2,8,32,100)"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    count = arguments.samples
    images, offset = smooth_images(count), smooth_images(count, 1e5)
    networks: list[tuple[str, nn.Module, Tensor]] = [
        ("Residual network, 10 BN, 32×32", residual_network(), images),
        ("Plain network, 5 BN, 32×32", plain_network(), images),
        ("ResNet-18, 20 BN, 224×224", resnet18(), smooth_images(count // 8, size=224)),
        ("One BN, mean/std 0.5", nn.BatchNorm2d(3), images),
        ("One BN, mean/std 1e5", nn.BatchNorm2d(3), offset),
    ]
    for name, model, inputs in networks:
        if arguments.only.lower() in name.lower():
            sizes = [size for size in arguments.batches if size <= len(inputs)]
            report(name, model, inputs, sizes, arguments.rounds)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
