"""Whole networks: the module's route against the graph's, training and exporting what comes out."""

import copy

import pytest
import torch
from torch import Tensor

import bnfold
from tests.modules.networks import (
    NETWORKS,
    SharedHead,
    assert_same,
    evaluate,
    fold_checked,
    folded_graph,
    randomized,
)


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, Tensor]:
    """Return a network and an input."""
    module, shape = NETWORKS[str(request.param)]
    return randomized(copy.deepcopy(module)), torch.randn(3, *shape, dtype=torch.float64)


def test_what_the_graph_removes_the_module_removes(network: tuple[torch.nn.Module, Tensor]) -> None:
    """The same normalizations go, and the same outputs come."""
    module, x = network
    folded = fold_checked(module, x)
    model, report = folded_graph(module, x)
    assert folded.report.batch_norm_count == report.batch_norm_count
    with torch.no_grad():
        expected = folded.module(x).numpy()
    assert abs(evaluate(model, x) - expected).max() <= 1e-9 * abs(expected).max()


def test_what_is_folded_trains_and_exports() -> None:
    """Every parameter gets a gradient as before, added biases included, and torch.export takes the module."""
    module, x = randomized(copy.deepcopy(NETWORKS["basic-block"][0])), torch.randn(3, 3, 7, 6, dtype=torch.float64)
    module.get_parameter("conv1.weight").requires_grad_(False)
    folded = bnfold.fold(module, x)
    frozen = [name for name, parameter in folded.named_parameters() if not parameter.requires_grad]
    assert frozen == ["conv1.weight", "conv1.bias"]
    folded(x).sum().backward()
    assert [name for name, parameter in folded.named_parameters() if parameter.grad is None] == frozen
    assert_same(folded, torch.export.export(folded, (x,)).module(), (x,))


def test_float32_is_as_near_as_it_was() -> None:
    """In float32 the folded network's error against float64 is that of the unfolded one, within 1.5 times."""
    network, shape = NETWORKS["inverted-residual"]
    single, x = randomized(copy.deepcopy(network)).float(), torch.randn(64, *shape)
    folded = bnfold.fold(single, x)
    with torch.no_grad():
        reference = copy.deepcopy(single).double()(x.double())
        errors = [(module(x).double() - reference).square().mean().sqrt() for module in (single, folded)]
    assert errors[1] <= 1.5 * errors[0]


def test_a_head_on_two_levels_with_a_normalization_each() -> None:
    """The graph would copy the head's weight; the module keeps one, and with it the second normalization, at least."""
    module = randomized(SharedHead(levels=2))
    x = torch.randn(3, 3, 8, 6, dtype=torch.float64)
    folded = fold_checked(module, x)
    (kept,) = folded.kept
    assert kept.startswith("bns.")
    outcome = next(outcome for outcome in folded.report.batch_norms if not outcome.removed)
    assert outcome.reason == "cannot-be-written-back"
    assert "a graph can go without it" in outcome.detail
    assert folded_graph(module, x)[1].kept_count == 0


def test_names_of_the_state_dict() -> None:
    """What a removed normalization held is gone, a convolution in front of one has a bias, all else stays."""
    module = randomized(copy.deepcopy(NETWORKS["basic-block"][0]))
    folded, report = bnfold.fold_module(module, torch.randn(2, 3, 7, 6, dtype=torch.float64))
    assert sorted(folded.state_dict()) == [
        "conv1.bias",
        "conv1.weight",
        "conv2.bias",
        "conv2.weight",
        "downsample.0.bias",
        "downsample.0.weight",
    ]
    outcomes = {outcome.name: outcome for outcome in report.batch_norms}
    assert outcomes["bn1"].into == ("conv1.weight",)
    assert outcomes["downsample.1"].removed
