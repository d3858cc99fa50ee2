"""As accurate as unfolded: the float32 error of what a runtime computes, against float64, before and after a fold.

A fold rounds each weight once more; in return every normalization that goes takes along its own roundings of every
element. Both are of 2⁻²⁴, so that a folded graph errs about as much as its original, rather less. `RATIO` is what is
promised of it: no value is ever made so large that its digits are lost for good.

The runtime's own optimizations are off: it would fold the original, too.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from bnfold.data import Split, load_data
from bnfold.folding import Objective, Reason, fold, sizes
from bnfold.graph.capture import capture
from bnfold.training import resolve_model
from bnfold.verify.oracle import Oracle, Value
from bnfold.verify.runtime import open_session
from tests.folding import test_coverage as coverage
from tests.folding.builder import Builder
from tests.folding.checker import random_inputs
from tests.folding.test_light_models import BATCH_NORMS, randomized
from tests.sample_models.test_families import FAMILIES, SYSTEMS

RATIO = 1.5

DRAWS = 4
"""Times that a small network's weights are drawn. Each is rounded once, for all elements alike, and of a dozen weights
the error is a matter of luck; that of several draws is not."""

PRICED = [
    coverage.dense_block,
    coverage.relu_bn_padded_conv,
    coverage.relu_bn_max_pool_padded_conv,
    coverage.gelu_bn_padded_conv,
]


def error(model: ir.Model, inputs: Mapping[str, Value], expected: Mapping[str, Value]) -> float:
    """Return the root mean square of how far a runtime in float32 is off, relative to the outputs' own."""
    with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
        found = session.run(inputs)
    floats = [name for name, value in expected.items() if value.dtype == np.float64]
    off = sum(np.square(found[name] - expected[name]).sum() for name in floats)
    return math.sqrt(off / sum(np.square(expected[name]).sum() for name in floats))


def errors(model: ir.Model, inputs: Mapping[str, Value]) -> dict[str, float]:
    """Return the error of a model as it is, and folded for each objective."""
    expected = Oracle(model).run(inputs)
    found = {"unfolded": error(model, inputs, expected)}
    for objective in Objective:
        folded = model.clone()
        fold(folded, objective)
        found[objective] = error(folded, inputs, expected)
    return found


def check(*found: Mapping[str, float]) -> None:
    """Compare over all draws."""
    for objective in Objective:
        before, after = (math.hypot(*(draw[how] for draw in found)) for how in ("unfolded", objective))
        assert after <= RATIO * before, f"{objective}: off by {after:.3g}, unfolded by {before:.3g}"


@pytest.mark.parametrize("network", [*coverage.FREE, *coverage.MERGING, *PRICED])
def test_small_networks(network: coverage.Network) -> None:
    """Every architecture of the tests of coverage."""
    models: list[ir.Model] = []
    for seed in range(DRAWS):
        b = Builder(dtype=np.float32, seed=seed)
        models.append(b.model(network(b)))
    check(*(errors(model, random_inputs(model, seed=seed, batch=32)) for seed, model in enumerate(models)))


def test_a_large_shift_of_few_channels_is_worth_it() -> None:
    """What counts is the mean over all that an operator adds up: one channel of eight keeps no normalization."""
    assert fold(shifted(0.15, every=8, seed=0)).kept_count == 0
    assert fold(shifted(0.15, every=1, seed=0)).kept_count == 1


def test_a_shift_that_would_drown_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where γ is tiny, a fold would add β/a to what a Conv reads besides: refused, for digits would be lost indeed."""
    model = shifted(1e-3, every=3, seed=0)
    inputs = random_inputs(model, batch=32)
    check(errors(model, inputs))
    monkeypatch.setattr(sizes, "LARGEST_MULTIPLICAND", 1e100)
    with pytest.raises(AssertionError, match="off by"):
        check(errors(model, inputs))


def test_a_shift_that_leaves_a_value_as_it_was() -> None:
    """γ is tiny beside β; but the Conv is to read the normalization's own input, which is not large at all."""
    models: list[ir.Model] = []
    for seed in range(DRAWS):
        b = Builder(dtype=np.float32, seed=seed)
        x = b("Erf", b.input("N", 8, 6, 6))
        normal = b.batch_norm(x, 8, gamma=np.full(8, 0.03), beta=np.ones(8), mean=np.zeros(8), variance=np.ones(8))
        models.append(b.model(b.conv(normal, 8, 8, 1, 1)))
    check(*(errors(model, random_inputs(model, seed=seed, batch=32)) for seed, model in enumerate(models)))
    assert fold(models[0]).kept_count == 0


@pytest.mark.parametrize("operator", ["Erf", "Relu"])
@pytest.mark.parametrize("seed", range(8))
def test_a_mean_that_is_large_anyway_keeps_no_normalization(operator: str, seed: int) -> None:
    """Means of 8 to 20 deviations, in what a normalization reads and a Conv is to read: no shift makes them larger."""
    b = Builder(dtype=np.float32, seed=seed)
    mean, variance = b.generator.uniform(8.0, 20.0, 4), b.generator.uniform(0.5, 1.0, 4)
    x = b(operator, b.input("N", 4, 3, 3))
    assert fold(b.model(b.conv(b.batch_norm(x, 4, mean=mean, variance=variance), 4, 2, 1, 1))).kept_count == 0


def test_a_constant_that_would_drown_what_a_kept_normalization_gives() -> None:
    """γ and β say how large its result is, where no other normalization reads it."""
    b = Builder(dtype=np.float32)
    normal = b.batch_norm(b("Erf", b.input("N", 3, 6, 6)), 3, gamma=[1.0, 0.0, 1.0])  # γ = 0: it stays
    far = b("Add", normal, b.stored(np.full((3, 1, 1), 1e3)))
    model = b.model(b("Concat", b.conv(far, 3, 4, 1, 1), b.conv(normal, 3, 4, 1, 1), axis=1))
    check(errors(model, random_inputs(model, batch=32)))


def shifted(gamma: float, every: int, seed: int) -> ir.Model:
    """Return a graph in which γ of every so-manieth channel is small, and a Conv reads what is normalized besides."""
    b = Builder(dtype=np.float32, seed=seed)
    trunk = b.conv(b("Relu", b.conv(b.input("N", 3, 6, 6), 3, 8, 3, 3)), 8, 8, 1, 1)
    normal = b.batch_norm(trunk, 8, gamma=np.where(np.arange(8) % every == 0, gamma, 1.0), beta=np.ones(8))
    return b.model(b("GlobalAveragePool", b("Concat", b("Relu", normal), b.conv(trunk, 8, 8, 1, 1), axis=1)))


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.05, 0.02])
def test_shifts_of_any_size(gamma: float, every: int) -> None:
    """However large the shift β/a would be, what is folded errs no more than is promised."""
    models = [shifted(gamma, every, seed) for seed in range(DRAWS)]
    check(*(errors(model, random_inputs(model, seed=seed, batch=32)) for seed, model in enumerate(models)))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("gamma", "dead"), [(1e-3, 1), (1e-3, 8), (0.01, 2), (0.1, 8), (0.3, 8)])
def test_channels_that_a_rectifier_silences(gamma: float, dead: int, *, residual: bool) -> None:
    """γ small beside β < 0: what is stored in the place of such a channel is −β/γ times as large as its values.

    A convolution reads it with weights that are small, too; a sum, with a shift that it only takes back.
    """
    models: list[ir.Model] = []
    for seed in range(DRAWS):
        b = Builder(dtype=np.float32, seed=seed)
        trunk = b.conv(b("Relu", b.conv(b.input("N", 3, 6, 6), 3, 8, 3, 3)), 8, 8, 1, 1)
        silenced = np.arange(8) < dead
        normal = b.batch_norm(trunk, 8, gamma=np.where(silenced, gamma, 1.0), beta=np.where(silenced, -1.0, 0.5))
        branch = b.conv(b("Relu", normal), 8, 8, 1, 1)
        models.append(b.model(b("Add", trunk, branch) if residual else b("Concat", trunk, branch, axis=1)))
    check(*(errors(model, random_inputs(model, seed=seed, batch=32)) for seed, model in enumerate(models)))


def test_one_such_channel_among_many_keeps_no_normalization() -> None:
    """What it loses is little beside what the operator adds up; and where it is too much, that is the reason."""
    for dead, reason in ((1, None), (64, Reason.WEIGHT_RANGE)):
        b = Builder(dtype=np.float32)
        trunk = b.conv(b.input("N", 3, 6, 6), 3, 64, 3, 3)
        gamma, beta = (np.where(np.arange(64) < dead, *pair) for pair in ((0.03, 1.0), (-1.0, 0.5)))
        normal = b.batch_norm(trunk, 64, gamma=gamma, beta=beta, mean=np.zeros(64), variance=np.ones(64))
        model = b.model(b("Concat", trunk, b.conv(b("Relu", normal), 64, 8, 1, 1), axis=1))
        report = fold(model, Objective.NO_BN)
        assert [outcome.reason for outcome in report.batch_norms] == [reason]


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCH_NORMS)
def test_classification_networks(name: str) -> None:
    """ResNet-50, Inception, ShuffleNet and DenseNet-121 with random weights."""
    model = randomized(name)
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        if value.dtype is ir.DataType.DOUBLE:
            value.type = ir.TensorType(ir.DataType.FLOAT)
            if value.const_value is not None:
                value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
    check(errors(model, random_inputs(model)))


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, *SYSTEMS], ids=lambda family: family.name)
def test_sample_models(family: Any) -> None:
    """Every family of networks, on real data, with the statistics of such data."""
    torch.manual_seed(0)
    source = resolve_model(family.name, family.args, Path(__file__).parents[2] / "sample_models")
    assert source.recipe.data is not None
    inputs = load_data(source.recipe.data, Split.TEST).take(32).inputs
    network, examples = source.build(), tuple(map(torch.from_numpy, inputs.values()))
    with torch.no_grad():
        for _ in range(20):
            network(*examples)
    model = capture(network.eval(), examples, input_names=list(inputs))
    check(errors(model, inputs))
