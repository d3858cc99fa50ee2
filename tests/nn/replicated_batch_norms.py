"""BN over the values of several processes: run as a program by ``test_replicas.py``, prints a JSON object.

Every case cuts a minibatch of 7 samples into parts of different size, one a process.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from bnfold.nn import BatchNorm1d
from tests.replicas import replicate

EPS = 0.3
CUTS = {"uneven": [5], "empty": [7], "four": [1, 3, 4], "masked": [2]}
"""For each case, where the minibatch is cut."""
DELTA = 1e-6


def main() -> None:
    """Run every case; the argument is a folder to work in."""
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    print(json.dumps({case: replicate(len(CUTS[case]) + 1, place / case, lambda _, c=case: run(c)) for case in CUTS}))  # noqa: T201  (a program)


def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return x and a gradient (7, 3, 2), and a mask (7, 2)."""
    random = torch.Generator().manual_seed(5)
    x, grad = (torch.randn(7, 3, 2, generator=random, dtype=torch.float64) for _ in range(2))
    return 1.5 + 2 * x, grad, torch.rand(7, 2, generator=random) < 0.7


def module() -> BatchNorm1d:
    """Return the module that every process has."""
    made = BatchNorm1d(3, eps=EPS, dtype=torch.float64, process_group="world")
    with torch.no_grad():
        made.weight.copy_(torch.tensor([0.7, -1.3, 2.1]))
        made.bias.copy_(torch.tensor([-0.4, 0.9, 0.2]))
    return made


def run(case: str) -> dict[str, Any]:
    """Return this process's part of output, gradients and statistics, and the finite differences that all took."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    norm = module()
    x, grad, mask = (part.tensor_split(CUTS[case])[rank] for part in data())
    keep = mask if case == "masked" else None
    x.requires_grad_()
    y: Tensor = norm(x, keep)
    gradients = torch.autograd.grad(y, (x, norm.weight, norm.bias), grad)
    result = {
        "y": y.tolist(),
        "x": gradients[0].tolist(),
        "gamma": gradients[1].tolist(),
        "beta": gradients[2].tolist(),
        "state": {name: value.tolist() for name, value in norm.state_dict().items()},
        "scaled": _scaled(case, rank),
        "differences": _differences(case, rank) if case == "uneven" else None,
    }
    distributed.destroy_process_group()
    return result


def _scaled(case: str, rank: int) -> list[float]:
    """Return how far BN((aW)u), a = 3, and its gradients are from what section 3.3 says; ε is scaled along by a²."""
    x, grad, _ = (part.tensor_split(CUTS[case])[rank][..., 0] for part in data())
    u, results = x.requires_grad_(), list[list[Tensor]]()
    for a in (1.0, 3.0):
        norm, weights = module(), (a * torch.arange(1.0, 10.0).reshape(3, 3).double().sin()).requires_grad_()
        norm.eps = a**2 * EPS
        y: Tensor = norm(u @ weights.T)
        by_u, by_weights = torch.autograd.grad(y, (u, weights), grad)
        distributed.all_reduce(by_weights)
        results.append([y.detach(), by_u, a * by_weights])
    return [float((one - other).abs().sum()) for one, other in zip(*results, strict=True)]


def _differences(case: str, rank: int) -> list[float]:
    """Return ∂ℓ/∂x by central differences, ℓ = Σ g·y over all processes, which all move the same value at a time."""
    everything, grads, _ = data()
    slopes: list[float] = []
    for position in range(everything.numel()):
        losses: list[Tensor] = []
        for step in (DELTA, -DELTA):
            moved = everything.clone()
            moved.view(-1)[position] += step
            own = [part.tensor_split(CUTS[case])[rank] for part in (moved, grads)]
            losses.append((module()(own[0]) * own[1]).sum().detach())
            distributed.all_reduce(losses[-1])
        slopes.append(float((losses[0] - losses[1]) / (2 * DELTA)))
    return slopes


if __name__ == "__main__":
    main()
