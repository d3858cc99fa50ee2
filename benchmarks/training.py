"""Time of a training step through bnfold's loop beside the same loop written plainly: ``benchmarks/training.py``.

The network is the sample model ``residual``. Ours is what ``bnfold train`` does between two measurements: the order of
the data, the minibatch, the rate of the schedule, `Session.update`, and the batch norms of `bnfold.nn`. The plain loop
is what one would write by hand, with torch.nn's batch norms, the same data in memory, optimizer and schedule.

Every round runs ours, the plain loop and the plain loop again, in random order, and yields two ratios: ours/plain, and
plain/plain, which is the noise that the first one has to be read against. A ratio of 1 means as fast as the plain loop.
Also printed is the part of a step that fetching the minibatch takes.
"""

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bnfold.data import Split, load_data
from bnfold.training import Hyperparameters, resolve_model
from bnfold.training.losses import Loss
from bnfold.training.models import ModelSource
from bnfold.training.network import choose_device, make_session
from bnfold.training.order import steps_per_epoch
from bnfold.training.replicas import Replicas
from bnfold.training.schedules import Position, learning_rate
from bnfold.training.shares import shares_between

BUILTINS = Path(__file__).parents[1] / "sample_models"
ENDLESS = 10**9
Step = Callable[[], object]


def main() -> None:
    """Measure both loops on every data set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=40, help="measurements of each loop (default: 40)")
    parser.add_argument("--steps", type=int, default=20, help="updates a measurement (default: 20)")
    parser.add_argument("--data", nargs="+", default=["digits"], help="data sets (default: digits)")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="torch's threads; 1 keeps other load out of the figures")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    columns = f"{'ours/plain: median, quartiles':30} {'plain/plain':22} fetching"
    print(f"{'data':>14} {'ours ms':>8} {'plain ms':>8}   {columns}")
    for data in options.data:
        source = resolve_model("residual", {}, BUILTINS)
        settings = source.recipe.hyperparameters({"device": options.device})
        loops = [
            our_loop(source, data, settings),
            plain_loop(source, data, settings),
            plain_loop(source, data, settings),
        ]
        synchronize = torch.cuda.synchronize if choose_device(settings.device).type == "cuda" else lambda: None
        for step in loops:
            seconds(step, 5, synchronize)
        rounds = [measure_round(loops, options.steps, synchronize) for _ in range(options.rounds)]
        ours, plain, _ = (statistics.median(each[loop] for each in rounds) for loop in range(3))
        fetching = seconds(fetch_loop(data, settings), options.steps * 5, synchronize)
        ratio, noise = (spread([each[loop] / each[1] for each in rounds]) for loop in (0, 2))
        print(f"{data:>14} {ours * 1e3:8.2f} {plain * 1e3:8.2f}   {ratio:30} {noise:22} {fetching / ours:.1%}")


def our_loop(source: ModelSource, data: str, settings: Hyperparameters) -> Step:
    """Return one step of ours, as `bnfold.training.loop` takes it."""
    dataset = load_data(data, Split.TRAIN)
    replicas = Replicas(device=choose_device(settings.device))
    torch.manual_seed(0)
    session = make_session(source, settings, Loss(), replicas)
    shares = shares_between(dataset, settings, replicas, start=0, stop=ENDLESS)
    per_epoch = steps_per_epoch(dataset, settings.batch_size)

    def step() -> float:
        rate = learning_rate(settings, Position(session.step, per_epoch, ENDLESS))
        return session.update(next(shares), rate)

    return step


def plain_loop(source: ModelSource, data: str, settings: Hyperparameters) -> Step:
    """Return one step of the loop that one would write by hand."""
    dataset, device = load_data(data, Split.TRAIN), choose_device(settings.device)
    (images,) = dataset.inputs.values()
    labels = dataset.labels
    assert labels is not None
    torch.manual_seed(0)
    model = torchs_batch_norms(source.build()).to(device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ENDLESS)

    def minibatches() -> Iterator[np.ndarray]:
        while True:
            order = np.random.default_rng().permutation(len(images))
            for start in range(0, len(order) - settings.batch_size + 1, settings.batch_size):
                yield order[start : start + settings.batch_size]

    chosen = minibatches()

    def step() -> float:
        samples = next(chosen)
        x, y = torch.from_numpy(images[samples]).to(device), torch.from_numpy(labels[samples]).to(device)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def fetch_loop(data: str, settings: Hyperparameters) -> Step:
    """Return the fetching of one minibatch alone."""
    shares = shares_between(load_data(data, Split.TRAIN), settings, Replicas(), start=0, stop=ENDLESS)
    return lambda: next(shares)


def torchs_batch_norms(model: nn.Module) -> nn.Module:
    """Give the model torch.nn's batch norms, whose state ours share."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = nn.BatchNorm2d
    return model


def measure_round(loops: list[Step], steps: int, synchronize: Step) -> list[float]:
    """Return the seconds a step of every loop, run in random order."""
    times = [0.0] * len(loops)
    for which in random.sample(range(len(loops)), len(loops)):
        times[which] = seconds(loops[which], steps, synchronize)
    return times


def seconds(step: Step, steps: int, synchronize: Step) -> float:
    """Return the mean time of a step, the device's queue drained before and after."""
    synchronize()
    start = time.perf_counter()
    for _ in itertools.repeat(None, steps):
        step()
    synchronize()
    return (time.perf_counter() - start) / steps


def spread(ratios: list[float]) -> str:
    """Format median and quartiles."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return f"{median:.3f}, {low:.3f} to {high:.3f}"


if __name__ == "__main__":
    main()
