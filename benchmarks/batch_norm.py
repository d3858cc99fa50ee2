"""Time of one training step through ``bnfold.nn``'s modules beside torch's: ``python -m benchmarks.batch_norm``.

Every round runs ours, torch's and a second one of torch's, in random order, and yields two ratios: ours/torch, and
torch/torch, which is the noise that the first one has to be read against. Printed are median, quartiles and range over
the rounds. A step is forward and backward; a ratio of 1 means as fast as torch.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnfold.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d

SHAPES = [(64, 96), (256, 512), (16, 64, 128), (4, 8, 6, 6), (32, 64, 28, 28), (8, 256, 14, 14), (2, 16, 8, 24, 24)]
"""(N, C, *spatial): from one that is all overhead of the call to one that is all kernel."""

PAIRS: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
    2: (BatchNorm1d, nn.BatchNorm1d),
    3: (BatchNorm1d, nn.BatchNorm1d),
    4: (BatchNorm2d, nn.BatchNorm2d),
    5: (BatchNorm3d, nn.BatchNorm3d),
}
PLACEMENTS = 20
"""Tensors are made anew this often: where they lie in memory alone makes the same kernel up to 1.5 times slower."""

SECONDS_A_MEASUREMENT = 0.003
"""Long beside the clock's resolution, short beside the scheduler's time slice."""

Step = Callable[[], None]


@dataclass(frozen=True)
class Round:
    """Seconds a step of ours, of torch's, and of a second one of torch's."""

    ours: float
    torchs: float
    control: float


def main() -> None:
    """Measure every shape and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400, help="measurements of each module a shape (default: 400)")
    parser.add_argument("--device", default="cpu", help="torch device to run on (default: cpu)")
    parser.add_argument("--eval", action="store_true", help="time the forward pass in eval mode instead of a step")
    parser.add_argument("--threads", type=int, help="torch's threads; 1 keeps other load out of the figures")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    print(f"{'shape':>13} {'ours µs':>8} {'torch µs':>8}   {'ours/torch: median, quartiles, range':37}   torch/torch")
    for shape in SHAPES:
        rounds = measure(shape, device, options.rounds, training=not options.eval)
        ours = statistics.median(each.ours for each in rounds) * 1e6
        torchs = statistics.median(each.torchs for each in rounds) * 1e6
        ratio, noise = spread([r.ours / r.torchs for r in rounds]), spread([r.control / r.torchs for r in rounds])
        print(f"{'×'.join(map(str, shape)):>13} {ours:8.1f} {torchs:8.1f}   {ratio:37}   {noise}")


def measure(shape: tuple[int, ...], device: torch.device, rounds: int, *, training: bool) -> list[Round]:
    """Time the modules in turns, over several placements of their tensors in memory."""
    measured: list[Round] = []
    for _ in range(PLACEMENTS):
        x, grad = torch.randn(*shape, device=device).requires_grad_(training), torch.randn(*shape, device=device)
        ours, torchs = PAIRS[len(shape)]
        modules = [kind(shape[1]).to(device).train(training) for kind in (ours, torchs, torchs)]
        steps = [make_step(module, x, grad) for module in modules]
        repeats = max(1, round(SECONDS_A_MEASUREMENT / seconds(steps[1], 10, device)))
        measured += [measure_round(steps, repeats, device) for _ in range(max(1, rounds // PLACEMENTS))]
    return measured


def measure_round(steps: Sequence[Step], repeats: int, device: torch.device) -> Round:
    """Time every step once, in random order: a fixed one would give each the caches of the same predecessor."""
    times = [0.0] * len(steps)
    for which in random.sample(range(len(steps)), len(steps)):
        times[which] = seconds(steps[which], repeats, device)
    return Round(*times)


def make_step(module: nn.Module, x: Tensor, grad: Tensor) -> Step:
    """Return forward and backward in training mode, forward alone in eval mode."""
    parameters = list(module.parameters())

    def train() -> None:
        torch.autograd.grad(module(x), [x, *parameters], grad)

    def evaluate() -> None:
        with torch.inference_mode():
            module(x)

    return train if module.training else evaluate


def seconds(step: Step, repeats: int, device: torch.device) -> float:
    """Return the mean time of one step, the device's queue drained before and after."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronize(device)
    return (time.perf_counter() - start) / repeats


def synchronize(device: torch.device) -> None:
    """Wait for work that was only queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(ratios: list[float]) -> str:
    """Format median, quartiles and range."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return f"{median:.3f}, {low:.3f} to {high:.3f}, {min(ratios):.2f} to {max(ratios):.2f}"


if __name__ == "__main__":
    main()
