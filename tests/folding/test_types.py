"""Weights of every floating-point type: rounded once, never written as what their type cannot hold."""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnfold.folding import FoldReport, Objective, Reason, fold
from bnfold.verify.oracle import Oracle, Value
from tests.folding import checker
from tests.folding.builder import EPSILON, Builder
from tests.folding.steps import STEPS
from tests.folding.strategies import Case, programs

NARROW: list[npt.DTypeLike] = [np.float16, ml_dtypes.bfloat16, np.float32]

OPSET = 22
"""The first whose Conv and pooling take bfloat16."""

WITHOUT_BFLOAT16 = {"Einsum"}
"""Operators that take no bfloat16 in any operator set."""


# A bound on what rounding the weights may do.
#
# With ŵ = w' + δ, |δ| ≤ u·|w'| + η (u the unit roundoff, η the smallest subnormal), every operator used here satisfies
# |f(ŵ, x̂) − f(w', x)| ≤ M(|w'| + |δ|, |x| + |x̂ − x|) − M(|w'|, |x|), where M is the operator with all numbers made
# positive: it is multilinear and monotone there, and rectifiers and maxima do not enlarge differences. So the whole
# network's difference is at most M(|ŵ|·(1 + 2u) + 2η) − M(|ŵ|), both evaluated in float64.


BOUNDED = sorted(
    set(STEPS)
    - {
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GRU", "LSTM", "RNN"),
        *("Clip", "Div", "GridSample", "LpPool", "Max", "Min", "Neg", "PRelu", "Pad", "ReduceL2", "ReduceMin"),
        *("Resize", "RoiAlign", "Sub"),
    }  # neither multilinear nor a maximum of one value, or not monotone in all their numbers
)


def bound(model: ir.Model, inputs: Mapping[str, Value], dtype: np.dtype[np.generic]) -> dict[str, Value]:
    """Return how far each output may be from that of the same graph with weights that were never rounded."""
    info = ml_dtypes.finfo(dtype)
    unit, smallest = 2.0 ** -(info.nmant + 1), float(info.smallest_subnormal)
    magnitudes = {name: np.abs(value.astype(np.float64)) for name, value in inputs.items()}
    plain = Oracle(_positive(model, 0.0, 0.0)).run(magnitudes)
    wide = Oracle(_positive(model, 2 * unit, 2 * smallest)).run(magnitudes)
    return {name: wide[name] - plain[name] for name in plain}


def _positive(model: ir.Model, relative: float, absolute: float) -> ir.Model:
    """Return the model in float64 with |w|·(1 + relative) + absolute for every weight, Gemm's factors positive."""
    twin = model.clone()
    for node in twin.graph:
        for name in {"alpha", "beta"} & set(node.attributes):
            node.attributes[name] = ir.AttrFloat32(name, abs(node.attributes[name].as_float()))
    for value in twin.graph.initializers.values():
        assert value.const_value is not None
        if value.const_value.dtype.is_floating_point():
            numbers = np.abs(value.const_value.numpy().astype(np.float64)) * (1 + relative) + absolute
            value.const_value = ir.Tensor(numbers, name=value.name)
            value.type = ir.TensorType(ir.DataType.DOUBLE)
    for value in (*twin.graph.inputs, *(output for node in twin.graph for output in node.outputs)):
        if value.type is not None and not value.is_initializer():
            value.type = ir.TensorType(ir.DataType.DOUBLE)
    return twin


def check_rounded(case: Case, dtype: npt.DTypeLike) -> FoldReport:
    """Fold and compare: everything finite, and no output further off than the rounding of the weights explains."""
    original, candidate = case.model, case.model.clone()
    report = fold(candidate)
    checker.check_signature(original, candidate)
    checker.check_account(original, candidate, report)
    _check_finite(candidate)
    expected, actual = Oracle(original).run(case.inputs), Oracle(candidate).run(case.inputs)
    for name, allowed in bound(candidate, case.inputs, np.dtype(dtype)).items():
        floor = 1e-12 * (1 + np.abs(expected[name]).max(initial=0.0))
        assert (np.abs(actual[name] - expected[name]) <= allowed + floor).all(), name
    return report


def _check_finite(candidate: ir.Model) -> None:
    for name, value in candidate.graph.initializers.items():
        assert value.const_value is not None
        if value.const_value.dtype.is_floating_point():
            assert np.isfinite(value.const_value.numpy().astype(np.float64)).all(), f"{name} is not finite"


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_random_graphs_of_narrow_types(dtype: npt.DTypeLike) -> None:
    """Random graphs of monotone operators, with per-channel factors between them, stay within the bound."""
    names = set(BOUNDED) - (WITHOUT_BFLOAT16 if dtype == ml_dtypes.bfloat16 else set())
    steps = {name: STEPS[name] for name in sorted(names)}

    @given(programs(steps, dtype=dtype, normalized=False, longest=7, opsets=(OPSET,)))
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def run(case: Case) -> None:
        check_rounded(case, dtype)

    run()


def test_the_bound_sees_a_wrong_weight() -> None:
    """A hundredth in one float32 weight is no rounding."""
    case = conv_bn(np.float32, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    candidate = case.model.clone()
    fold(candidate)
    value = next(node for node in candidate.graph if node.op_type == "Conv").inputs[1]
    assert value is not None
    assert value.const_value is not None
    numbers = value.const_value.numpy().copy()
    numbers.flat[0] *= 1.01
    value.const_value = ir.Tensor(numbers, name=value.name)
    expected, actual = Oracle(case.model).run(case.inputs), Oracle(candidate).run(case.inputs)
    ((name, allowed),) = bound(candidate, case.inputs, np.dtype(np.float32)).items()
    assert (np.abs(actual[name] - expected[name]) > 100 * allowed).any()


def conv_bn(dtype: npt.DTypeLike, gamma: npt.ArrayLike, variance: npt.ArrayLike, *, scale: float = 1.0) -> Case:
    """Return Conv → BN → Relu → Conv with three channels in the middle and no bias in front."""
    b = Builder(dtype=dtype, opset=OPSET)
    x = b("Conv", b.input("N", 2, 5, 4), b.stored(scale * b.generator.uniform(0.5, 1.0, (3, 2, 1, 1))))
    hidden = b.batch_norm(x, 3, gamma=gamma, variance=variance, mean=np.zeros(3), epsilon=1e-5)
    model = b.model(b.conv(b("Relu", hidden), 3, 4, 1, 1))
    return Case(model, checker.random_inputs(model))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=str)
@given(
    exponents=st.lists(st.integers(-12, 12), min_size=3, max_size=3),
    tiny=st.lists(st.sampled_from([0.0, 1e-7, 1e-5, 1.0, 1e4]), min_size=3, max_size=3),
    weight=st.integers(-10, 10),
)
@settings(max_examples=60)
def test_no_weight_is_written_that_its_type_cannot_hold(
    dtype: npt.DTypeLike, exponents: list[int], tiny: list[float], weight: int
) -> None:
    """Whatever γ and variances, weights that were normal numbers neither overflow nor vanish."""
    case = conv_bn(dtype, [2.0**n for n in exponents], tiny, scale=2.0**weight)
    candidate = case.model.clone()
    report = fold(candidate)
    _check_finite(candidate)
    for value in candidate.graph.initializers.values():
        assert value.const_value is not None
        if len(value.const_value.shape) == 4:
            assert value.const_value.numpy().astype(np.float64).all(), f"{value.name} was flushed to zero"
    if not report.removed_count:
        assert {outcome.reason for outcome in report.batch_norms} == {Reason.WEIGHT_RANGE}


def test_a_scale_that_overflows_is_spread() -> None:
    """γ/√ε of 3·10⁵ fits no float16, but the weights on both sides can share it."""
    report = fold(conv_bn(np.float16, [100.0, 1.0, 1.0], [0.0, 1.0, 1.0], scale=4.0).model)
    assert report.removed_count == 1


@pytest.mark.parametrize("value", [3e4, 6e4])
def test_a_shift_that_overflows_the_bias_behind(value: float) -> None:
    """A large mean goes into no float16 bias that cannot hold it; the fold ends, and says so."""
    b = Builder(dtype=np.float16)
    one: dict[str, Any] = {"gamma": np.ones(3), "variance": np.full(3, 1 - EPSILON), "mean": np.zeros(3)}
    x = b.batch_norm(b.input("N", 3, 5, 4), 3, beta=np.full(3, value), **one)
    y = b("Relu", b("Conv", x, b.stored(np.full((2, 3, 1, 1), 3.0))))
    model = b.model(b.conv(y, 2, 4, 1, 1))
    (outcome,) = fold(model).batch_norms
    _check_finite(model)
    assert outcome.reason is Reason.WEIGHT_RANGE


def test_an_input_shift_that_overflows() -> None:
    """The same where Sub holds the mean."""
    b = Builder(dtype=np.float16)
    x = b("Sub", b.input("N", 3, 5, 4), b.stored(np.full((3, 1, 1), 6e4)))
    y = b("Relu", b("Conv", x, b.stored(np.full((2, 3, 1, 1), 3.0))))
    model = b.model(b.conv(y, 2, 4, 1, 1))
    fold(model)
    _check_finite(model)


def test_parameters_that_stay_are_finite_too() -> None:
    """A normalization that is kept takes up the gauges around it only as far as float16 goes."""
    b = Builder(dtype=np.float16)
    x = b("Relu", b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 1, 1), 4, gamma=[3e4, 1e-3, 1.0, 2.0]))
    kept = b.batch_norm(x, 4, beta=np.full(4, 3e4), gamma=[1.0, 3e4, 1.0, 1.0])
    model = b.model(b.conv(kept, 4, 2, 3, 3, pads=[1, 1, 1, 1]))
    fold(model, Objective.NO_BN)
    _check_finite(model)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=str)
def test_weights_keep_their_type_and_are_rounded_once(dtype: npt.DTypeLike) -> None:
    """The folded weight is the exact one, computed in longdouble, rounded to the weight's own type."""
    b = Builder(dtype=dtype, opset=OPSET)
    b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4)
    weight, _, gamma, _, _, variance = (array.astype(np.longdouble) for array in b.tensors.values())
    name = next(iter(b.tensors))
    model = b.model(b.last_outputs()[0])
    fold(model)
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    folded = tensor.numpy()
    assert folded.dtype == np.dtype(dtype)
    exact = weight * (gamma / np.sqrt(variance + EPSILON))[:, None, None, None]
    info = ml_dtypes.finfo(np.dtype(dtype))
    # Half a unit in the last place, and what float64 arithmetic adds: four roundings of 2⁻⁵³.
    half = 2.0 ** -(info.nmant + 1) * (1 + 2.0**-40) + 4 * 2.0**-53
    assert (np.abs(folded.astype(np.longdouble) - exact) <= half * 2.0 ** np.ceil(np.log2(np.abs(exact)))).all()


def test_parameters_of_another_type_than_the_weights() -> None:
    """From opset 15 on a float16 BN has float32 statistics: the Conv's weights stay float16."""
    b = Builder(dtype=np.float16)
    x = b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2)
    wide = [b.stored(b.generator.uniform(0.5, 2.0, 4), dtype=np.float32) for _ in range(2)]
    y = b("BatchNormalization", x, b.positive(4), b.normal(4), *wide)
    model = b.model(y)
    folded = model.clone()
    assert fold(folded).removed_count == 1
    floats = {v.const_value.dtype for v in folded.graph.initializers.values() if v.const_value is not None}
    assert floats == {ir.DataType.FLOAT16}
    checker.check_results(model, folded, checker.random_inputs(model), relative=20 * 2.0**-11)
