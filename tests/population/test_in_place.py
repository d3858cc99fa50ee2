"""Tests of ``bnfold.population.in_place``: dead values are written over, and nobody notices."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import bnfold.nn
from bnfold.population import calibrate
from bnfold.population.layers import batch_norm_layers
from bnfold.population.program import Program, capture
from tests.population.families import furthest
from tests.population.networks import columns, randomize
from tests.population.test_self_consistent import found

Forward = Callable[[Any, Tensor], Tensor]


class Network(nn.Module):
    """Two convolutions with a step between them, and the last BN layer of what came of it."""

    def __init__(self, between: Forward) -> None:
        super().__init__()
        self.between = between
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.ours = bnfold.nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.leaky = nn.LeakyReLU(0.3)
        self.drop = nn.Dropout(0.5)
        self.same = nn.Identity()
        self.last = nn.BatchNorm2d(4)

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, 4, 6, 5)."""
        return self.last(self.between(self, self.first(values)))


def later(_: Any, x: Tensor) -> Tensor:
    """Read a value again after it was activated."""
    return x.relu() + x


def by_another_name(_: Any, x: Tensor) -> Tensor:
    """Activate a value whose other name, a view, is read after that."""
    view = x.transpose(2, 3)
    return x.relu() * 2 + view.transpose(2, 3)


def through_dropout(m: Any, x: Tensor) -> Tensor:
    """In inference mode dropout returns what it is given."""
    same = m.drop(x)
    return m.relu(x) + m.same(same)


def in_place_of_the_user(m: Any, x: Tensor) -> Tensor:
    """The user's own operation in place gives one memory two names."""
    activated = functional.relu(x, True)
    return x + m.leaky(activated)


OVERWRITTEN: dict[str, tuple[Forward, int]] = {
    "normalized": (lambda m, x: m.relu(m.norm(x)), 2),
    "ours": (lambda m, x: m.ours(x).relu(), 2),
    "functions": (lambda _, x: torch.relu(functional.relu(x)).sigmoid().tanh(), 4),
    "shortcut": (lambda m, x: m.norm(x.relu()) + x, 2),
    "sum of both": (lambda _, x: x + x, 1),
    "gate": (lambda _, x: x.mul(x.mean((2, 3), keepdim=True)), 1),
    "constant": (lambda _, x: (x * 2 + 1).add(3), 3),
    "read again": (later, 1),
    "another name": (by_another_name, 2),
    "dropout": (through_dropout, 1),
    "in place of the user": (in_place_of_the_user, 0),
    "keyword": (lambda _, x: torch.add(x, 1, alpha=2), 0),
    "hooked": (lambda m, x: m.leaky(x), 0),
}
"""Steps, and how many of them may write over an input."""


def model(name: str) -> nn.Module:
    """Return a network in float64 with random parameters, in inference mode."""
    made = Network(OVERWRITTEN[name][0])
    randomize(made, seed=9)
    if name == "hooked":
        made.leaky.register_forward_hook(lambda *_: None)
    return made.double().eval()


def inputs(layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Return (7, 3, 6, 5)."""
    drawn = torch.randn(7, 3, 6, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return drawn.contiguous(memory_format=layout)


def run(program: Program, batch: Tensor) -> Tensor:
    """Return the input of the last BN layer."""
    environment = program.begin(batch)
    *steps, last = program.nodes
    for node in steps:
        program.run(node, environment)
    return program.arguments_of(last, environment)[0][0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OVERWRITTEN)
def test_overwritten_values_are_dead(name: str, layout: torch.memory_format) -> None:
    """The same values to the last bit as of the model itself, and the batch stays as it was."""
    network, batch = model(name), inputs(layout)
    program = capture(network, {"last": network.get_submodule("last")}, batch)  # pyright: ignore[reportArgumentType]
    assert sum(node in program.overwriting for node in program.nodes[:-1]) == OVERWRITTEN[name][1]
    seen: list[Tensor] = []
    network.get_submodule("last").register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    with torch.no_grad():
        network(batch)
        assert torch.equal(run(program, batch), seen[0])
    assert torch.equal(batch, inputs())


def test_memory_is_used_again() -> None:
    """A BN layer and a ReLU leave their output where their input was."""
    network = model("normalized")
    program = capture(network, {"last": network.get_submodule("last")}, inputs())  # pyright: ignore[reportArgumentType]
    environment = program.begin(inputs())
    addresses: list[int] = []
    with torch.no_grad():
        for node in program.nodes[:-1]:
            program.run(node, environment)
            addresses.append(environment[node].data_ptr())
    assert len(set(addresses[1:])) == 1


def test_a_layer_refuses_what_it_would_refuse() -> None:
    """A rank that the layer does not take is an error in place too."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4), nn.BatchNorm1d(4)).double()
    with pytest.raises(ValueError, match="expected 4D input"):
        calibrate(network, [torch.zeros(7, 3, dtype=torch.float64)])


def test_a_user_s_hook_sees_what_was_computed() -> None:
    """Values that a hook keeps are not written over afterwards."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)).double()
    randomize(network, seed=1)
    kept: list[Tensor] = []
    network[0].register_forward_hook(lambda *call: kept.append(call[-1]))
    calibrate(network, [inputs()])
    with torch.no_grad():
        torch.testing.assert_close(kept[0], network[0](inputs()), rtol=1e-12, atol=1e-12)


def test_half_precision_layers_run_as_they_are() -> None:
    """A layer in another type than its input has no kernel that writes in place."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)).bfloat16()
    network[1].float()
    report = calibrate(network, [inputs().bfloat16()])
    values = network[0](inputs().bfloat16())
    assert furthest({"1": found(report)["1"]}, {"1": (columns(values).mean(0), columns(values).var(0, ddof=1))}) < 1e-5
    assert batch_norm_layers(network).keys() == found(report).keys()
