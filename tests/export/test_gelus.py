"""Tests of ``bnfold.export.gelus`` and of Gelus in a fold: written as what a runtime fuses, and whole until then."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnfold.export import transform
from bnfold.export.gelus import use_gelus
from bnfold.folding import Objective, fold
from bnfold.graph import save
from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import open_session
from tests.folding.builder import Builder
from tests.folding.checker import fold_checked, random_inputs

FORMS = ("halves x", "halves the sum", "halves the product")


def gelu(
    b: Builder,
    x: str,
    form: str = FORMS[2],
    numbers: Sequence[float] = (math.sqrt(2.0), 1.0, 0.5),
    *,
    division: bool = False,
    turned: bool = False,
) -> str:
    """Add the five nodes of x·(1 + erf(x/√2))/2; ``turned`` puts constants first."""
    root, one, half = numbers

    def by(value: str, factor: float) -> str:
        if division:
            return b("Div", value, b.stored(1.0 / factor))
        operands = (b.stored(factor), value)
        return b("Mul", *(operands if turned else operands[::-1]))

    plus = b("Add", *[b("Erf", by(x, 1.0 / root)), b.stored(one)][:: -1 if turned else 1])
    if form == FORMS[0]:
        return b("Mul", by(x, half), plus)
    if form == FORMS[1]:
        return b("Mul", x, by(plus, half))
    return by(b("Mul", x, plus), half)


def network(b: Builder, form: str, *, division: bool = False, turned: bool = False) -> ir.Model:
    """Return a Conv, its normalization, a Gelu, and a Conv."""
    normal = b.batch_norm(b.conv(b.input("N", 3, 5, 5), 3, 4, 1, 1), 4)
    return b.model(b.conv(gelu(b, normal, form, division=division, turned=turned), 4, 2, 1, 1))


def operators(model: ir.Model) -> Counter[str]:
    """Count the operators."""
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize(("form", "division", "turned"), [*itertools.product(FORMS, (False, True), (False, True))])
def test_the_runtime_fuses_what_is_exported(form: str, tmp_path: Path, *, division: bool, turned: bool) -> None:
    """Every way to write it, at an operator set that has no Gelu: one kernel for the five nodes."""
    b = Builder(dtype=np.float32)
    model = transform(network(b, form, division=division, turned=turned)).graph
    save(model, tmp_path / "model.onnx")
    with open_session(tmp_path / "model.onnx", optimized=True, fused=tmp_path / "fused.onnx"):
        fused = operators(ir.load(tmp_path / "fused.onnx"))
    assert (fused["Gelu"], fused["Erf"], fused["Mul"]) == (1, 0, 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("opset", "expected"), [(19, {"Conv": 2, "Div": 1, "Erf": 1, "Add": 1, "Mul": 2}), (20, {"Conv": 2, "Gelu": 1})]
)
def test_the_operator_is_used_where_there_is_one(form: str, opset: int, expected: dict[str, int]) -> None:
    """From opset 20 on."""
    original = network(Builder(opset=opset), form)
    model = transform(original.clone()).graph
    assert operators(model) == expected
    inputs = random_inputs(original)
    (before,), (after,) = (Oracle(graph).run(inputs).values() for graph in (original, model))
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_a_fold_leaves_it_whole(form: str) -> None:
    """The normalization goes; the constants stay, but where every normalization is to go at any price."""
    model = network(Builder(), form)
    folded = fold_checked(model)
    assert folded.count("BatchNormalization") == 0
    assert (folded.count("Erf"), folded.count("Mul"), folded.count("Add")) == (1, 3, 1)
    assert fold_checked(model, objective=Objective.NO_BN).count("Mul") < 3


def test_a_normalization_in_front_of_it_that_stays_is_not_its_fault() -> None:
    """Behind an operator without a rule no normalization could go: the account names that one."""
    b = Builder()
    model = b.model(gelu(b, b.batch_norm(b("Erf", b.input("N", 3, 5, 5)), 3)))
    (outcome,) = fold(model).batch_norms
    assert outcome.witness is not None
    assert "Erf" in outcome.witness


@pytest.mark.parametrize("factor", [0.5, 1.0 + 1e-3, -1.0])
@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("form", FORMS)
def test_other_constants_are_no_gelu(form: str, position: int, factor: float) -> None:
    """Nothing is rewritten."""
    b = Builder(opset=20)
    numbers = [math.sqrt(2.0), 1.0, 0.5]
    numbers[position] *= factor
    model = b.model(gelu(b, b.input("N", 3), form, numbers))
    before = operators(model)
    use_gelus(model)
    assert operators(model) == before


@pytest.mark.parametrize("position", range(4))
def test_a_value_that_is_read_besides_stays(position: int) -> None:
    """A Gelu whose inner values are outputs of the graph is left as it is."""
    b = Builder(opset=20)
    y = gelu(b, b.input("N", 3), FORMS[position % 3])
    inner = [name for node in b.nodes for name in node.output][position]
    model = b.model(y, inner)
    use_gelus(model)
    assert operators(model)["Erf"] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("form", FORMS)
def test_results_are_as_right_as_they_were(form: str, dtype: type[np.floating]) -> None:
    """At any x, the largest of its type among them: five operations, each of half a rounding of at most |x|."""
    b = Builder(dtype=dtype)
    model = b.model(gelu(b, b.input("N"), form))
    use_gelus(model)
    info = np.finfo(dtype)

    @given(arrays(dtype, st.integers(1, 8), elements={"allow_nan": False, "allow_infinity": False}))
    def run(x: npt.NDArray[np.floating]) -> None:
        exact = [0.5 * float(value) * math.erfc(-float(value) / math.sqrt(2.0)) for value in x]
        with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
            (found,) = session.run({"x": x}).values()
        error = np.abs(found.astype(np.float64) - exact)
        assert (error <= 2.5 * float(info.eps) * np.abs(x.astype(np.float64)) + float(info.smallest_subnormal)).all()

    run()
