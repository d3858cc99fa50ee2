"""Tests of ``bnfold.folding.equalize``: ranges become even, and nothing else changes."""

import json
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from bnfold.folding.equalize import equalize
from bnfold.verify.oracle import Oracle
from tests.folding.builder import Builder
from tests.folding.checker import check_results, check_signature, check_valid, random_inputs
from tests.folding.steps import STEPS
from tests.folding.strategies import Case, programs
from tests.folding.test_random_graphs import QUIET

C = 6
UNEVEN = np.logspace(-3, 3, C)
"""Six channels, a million apart."""


def uneven(b: Builder, rows: int, columns: int, *, axis: int) -> str:
    """Store a pointwise weight whose channels along an axis are of very different sizes."""
    factors = UNEVEN.reshape((-1, 1, 1, 1) if axis == 0 else (1, -1, 1, 1))
    return b.stored(b.generator.uniform(0.5, 1.0, (rows, columns, 1, 1)) * factors)


def equalized(model: ir.Model) -> tuple[ir.Model, dict[str, tuple[float, float]]]:
    """Equalize a copy, check that it computes the same numbers, and return it with the ratios of its weights."""
    twin = model.clone()
    report = equalize(twin)
    check_signature(model, twin)
    check_valid(twin)
    check_results(model, twin, random_inputs(model))
    json.dumps(report.to_dict())
    return twin, {weight.name: (weight.ratio.before, weight.ratio.after) for weight in report.weights}


@pytest.mark.parametrize("between", ["Relu", "MaxPool", None])
def test_a_pair_becomes_even(between: str | None) -> None:
    """Sizes differ a million times before, four times at most after: twice for the draw, twice for powers of two."""
    b = Builder()
    first, second = uneven(b, C, 3, axis=0), b.stored(b.generator.uniform(0.5, 1.0, (4, C, 1, 1)))
    x = b("Conv", b.input("N", 3, 4, 4), first, b.normal(C))
    if between:
        attributes: dict[str, Any] = {"kernel_shape": [2, 2]} if between == "MaxPool" else {}
        x = b(between, x, **attributes)
    _, ratios = equalized(b.model(b("Conv", x, second)))
    before, after = ratios[first]
    assert before > 1e5
    assert after <= 1e3 * 4  # √(R₁·R₂): half of the decades stay with each of the two
    assert ratios[second][1] <= 4 * ratios[second][0]


def test_outputs_are_the_same_bits() -> None:
    """Powers of two round nothing, in float32 as little as in the float64 of the oracle."""
    b = Builder(dtype=np.float32)
    x = b("Conv", b.input("N", 3, 4, 4), uneven(b, C, 3, axis=0), b.normal(C))
    model = b.model(b.conv(b("Relu", x), C, 4, 1, 1))
    twin = model.clone()
    assert equalize(twin).scaled
    for name, value in model.graph.initializers.items():
        other = twin.graph.initializers[name].const_value
        assert value.const_value is not None
        assert other is not None
        mantissa, same = (np.frexp(tensor.numpy())[0] for tensor in (value.const_value, other))
        np.testing.assert_array_equal(mantissa, same)
    inputs = random_inputs(model)
    (before,), (after,) = Oracle(model).run(inputs).values(), Oracle(twin).run(inputs).values()
    np.testing.assert_array_equal(before, after)


def test_both_branches_of_a_residual_move_together() -> None:
    """What is added carries one scale, so that three weights settle on it."""
    b = Builder()
    x = b("Relu", b("Conv", b.input("N", 3, 4, 4), uneven(b, C, 3, axis=0)))
    inner = b("Relu", b.conv(x, C, C, 3, 3, pads=[1] * 4))
    y = b("Relu", b("Add", x, b.conv(inner, C, C, 1, 1)))
    _, ratios = equalized(b.model(b.conv(y, C, 2, 1, 1)))
    assert len(ratios) == 4


@pytest.mark.parametrize("between", ["Sigmoid", "output"])
def test_a_fixed_scale_stays(between: str) -> None:
    """A Sigmoid's operand, and an output of the graph, are what they are."""
    b = Builder()
    x = b("Conv", b.input("N", 3, 4, 4), uneven(b, C, 3, axis=0))
    y = b("Sigmoid", x) if between == "Sigmoid" else x
    outputs = [b("Conv", y, b.normal(4, C, 1, 1)), *([x] if between == "output" else [])]
    model = b.model(*outputs)
    twin = model.clone()
    assert not equalize(twin).weights
    assert ir.to_proto(twin) == ir.to_proto(model)


def test_a_dead_channel_stays() -> None:
    """A channel of zeros has no size to even out."""
    b = Builder()
    weight = b.generator.normal(size=(C, 3, 1, 1))
    weight[2] = 0
    x = b("Relu", b("Conv", b.input("N", 3, 4, 4), b.stored(weight)))
    equalized(b.model(b("Conv", x, uneven(b, 4, C, axis=1))))


def test_again_changes_nothing() -> None:
    """The ranges that were evened out stay."""
    b = Builder()
    x = b("Relu", b("Conv", b.input("N", 3, 4, 4), uneven(b, C, 3, axis=0)))
    twin, _ = equalized(b.model(b.conv(x, C, 4, 1, 1)))
    before = ir.to_proto(twin)
    assert equalize(twin).scaled == 0
    assert ir.to_proto(twin) == before
    onnx.checker.check_model(before, full_check=True)


@given(programs(STEPS))
@settings(QUIET, max_examples=60)
def test_random_graphs(case: Case) -> None:
    """Over all operators that a fold knows."""
    twin = case.model.clone()
    with np.errstate(all="ignore"):
        equalize(twin)
        check_results(case.model, twin, case.inputs)
