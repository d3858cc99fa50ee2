"""Population statistics side by side: torch's update_bn, fvcore's PreciseBN and bnfold's pooled, in one run.

Per network and batch size: the largest relative error of a variance against the float64 statistics of the full batch,
over all channels of the last BN layer, and the time over that of fvcore, measured in turns.

    python benchmarks/population.py [--rounds N]
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

METHODS: Final[dict[str, Method]] = {
    "torch": lambda model, batches: update_bn(batches, model),
    "fvcore": lambda model, batches: update_bn_stats(model, batches, len(batches)),
    "algorithm-2": lambda model, batches: calibrate(model, batches, estimator=Estimator.ALGORITHM_2),
    "pooled": lambda model, batches: calibrate(model, batches),
}


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


def smooth_images(count: int, mean_over_std: float = 0.5) -> Tensor:
    """Return random images (count, 3, 32, 32) whose pixels hang together and whose contrast varies, as in pictures."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 3, 5, 5, generator=generator)
    pixels = nn.functional.interpolate(coarse, (32, 32), mode="bicubic")
    contrast = torch.rand(count, 1, 1, 1, generator=generator) + 0.3
    values = pixels * contrast
    return (values / values.std() + mean_over_std).contiguous()


def last_variance(model: nn.Module) -> Tensor:
    """Return the running variance of the last BN layer."""
    return [buffer for name, buffer in model.named_buffers() if name.endswith("running_var")][-1].double()


def full_batch_variance(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return what torch's own training pass in float64 over one batch of everything finds."""
    model = copy.deepcopy(model).double().train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]  # torch's base
            module.momentum = 1.0
    with torch.no_grad():
        model(inputs.double())
    return last_variance(model)


def measure(
    model: nn.Module, batches: Sequence[Tensor], rounds: int
) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Return the last variance by method, and its seconds in every round, the methods taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    variances: dict[str, Tensor] = {}
    for turn in range(rounds + 1):
        for name, method in METHODS.items():
            candidate = copy.deepcopy(model).train()
            start = time.perf_counter()
            method(candidate, batches)
            if turn > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
            variances[name] = last_variance(candidate)
    return variances, seconds


def report(name: str, model: nn.Module, inputs: Tensor, sizes: Sequence[int], rounds: int) -> None:
    """Print a row for every batch size."""
    exact = full_batch_variance(model, inputs)
    for size in sizes:
        variances, seconds = measure(model, inputs.split(size), rounds)
        errors = [f"{((variances[method] - exact).abs() / exact).max().item():12.1e}" for method in METHODS]
        pairs = {method: zip(seconds[method], seconds["fvcore"], strict=True) for method in METHODS}
        ratios = [f"{statistics.median(a / b for a, b in pairs[method]):12.2f}" for method in METHODS]
        print(f"{name:22}{size:6}", *errors, " |", *ratios, f"{statistics.median(seconds['fvcore']):10.3f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds a row (default 5)")
    parser.add_argument("--samples", type=int, default=256, help="images in all (default 256)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    images = smooth_images(arguments.samples)
    header = [f"{method:>12}" for method in METHODS]
    print(f"{'':28} {'error of the last variance':>{12 * 4 + 3}}  | {'time / fvcore':>{12 * 4 + 3}}     fvcore")
    print(f"{'network':22}{'batch':>6}", *header, " |", *header, f"{'s':>10}")
    report("residual, 10 BN", residual_network(), images, (2, 8, 32, 100), arguments.rounds)
    report("plain, 5 BN", plain_network(), images, (2, 8, 32, 100), arguments.rounds)
    report("one BN, mean/std 0.5", nn.BatchNorm2d(3), images, (8, 100), arguments.rounds)
    offset = smooth_images(arguments.samples, 1e5)
    report("one BN, mean/std 1e5", nn.BatchNorm2d(3), offset, (8, 100), arguments.rounds)


if __name__ == "__main__":
    main()
