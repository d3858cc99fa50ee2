"""Operators that standardize by the sample, and what comes behind them: their own parameters take it up."""

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.folding import Objective, inspect
from tests.folding.builder import Builder
from tests.folding.checker import fold_checked

C = 4


def behind(b: Builder, y: str, *shape: int) -> ir.Model:
    """Return the graph with a BN behind a value, and a Sigmoid, which holds all scales.

    Where shape inference knows no shape, the Reshape to one is for the output.
    """
    y = b("Sigmoid", b.batch_norm(y, C))
    return b.model(b("Reshape", y, b.integers(*shape)) if shape else y)


def test_layer_normalization_without_a_bias() -> None:
    """It gets one, where there is something to shift."""
    b = Builder()
    y = b("LayerNormalization", b.input(3, C), b.positive(C))
    folded = fold_checked(behind(b, y))
    assert folded.count("BatchNormalization") == 0
    assert folded.weight("LayerNormalization", 2).shape == (C,)
    b = Builder()
    y = b("LayerNormalization", b.input(3, C), b.positive(C))
    folded = fold_checked(b.model(b("Sigmoid", b("Mul", y, b.positive(C)))))
    assert [len(node.inputs) for node in folded.model.graph] == [2, 1]


@pytest.mark.parametrize("axis", [1, -2])
def test_layer_normalization_over_several_axes(axis: int) -> None:
    """Its parameters vary along all of them: it is left alone."""
    b = Builder()
    y = b("LayerNormalization", b.input(2, C, 5), b.positive(C, 5), axis=axis)
    assert fold_checked(behind(b, y)).count("BatchNormalization") == 1


def test_group_normalization() -> None:
    """From opset 21 on it has parameters for each channel."""
    b = Builder(opset=21)
    y = b("GroupNormalization", b.input(2, C, 3, 3), b.positive(C), b.normal(C), num_groups=2)
    b.declare(y, 2, C, 3, 3)  # onnx infers nothing for this operator in float64
    model = behind(b, y)
    assert fold_checked(model).count("BatchNormalization") == 0
    model.opset_imports[""] = 18  # where they are for groups, and the checker refuses it as deprecated
    (outcome,) = inspect(model)
    assert not outcome.removed


def test_rms_normalization() -> None:
    """A factor goes into its scale; it has nothing to shift by."""
    b = Builder(opset=23, ir_version=11)
    y = b("RMSNormalization", b.input(3, C), b.positive(C))
    folded = fold_checked(b.model(b("Sigmoid", b("Mul", y, b.normal(C)))))
    assert folded.count("Mul") == 0
    b = Builder(opset=23, ir_version=11)
    y = b("RMSNormalization", b.input(3, C), b.positive(C))
    assert fold_checked(behind(b, y)).count("BatchNormalization") == 1


@pytest.mark.parametrize(
    ("objective", "left"), [(Objective.LATENCY, ["BatchNormalization"]), (Objective.NO_BN, ["Mul", "Add"])]
)
def test_a_group_normalization_written_out_by_torch(objective: Objective, left: list[str]) -> None:
    """InstanceNormalization of groups, and parameters spread by a Range that nothing at run time decides.

    The BN takes up the affine map, or is taken up by it.
    """
    b = Builder()
    x = b.input("batch", C, 3, 3)
    y = b("InstanceNormalization", b("Reshape", x, b.integers(0, 2, -1)), b.stored([1.0, 1.0]), b.stored([0.0, 0.0]))
    y = b("Reshape", y, b("Shape", x))
    axes = b("Range", *(b.stored(number, dtype=np.int64) for number in (1, 3, 1)))
    y = b("Mul", y, b("Unsqueeze", b.positive(C), axes))
    y = b("Add", y, b("Unsqueeze", b.normal(C), axes))
    folded = fold_checked(behind(b, y, 1, -1), objective=objective)
    affine = [node.op_type for node in folded.model.graph if node.op_type in {"BatchNormalization", "Mul", "Add"}]
    assert affine == left


@pytest.mark.parametrize("objective", Objective)
def test_between_normalizations(objective: Objective) -> None:
    """What comes before stays where it cannot pass, what comes behind goes, whatever its sign."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input(2, C, 5, 5), C, C, 3, 3), C, name="before")
    y = b("InstanceNormalization", b("Relu", x), b.normal(C), b.normal(C))
    y = b.batch_norm(y, C, gamma=[-1.0, 0.5, 2.0, -0.25], name="behind")
    folded = fold_checked(b.model(b("Relu", y)), objective=objective)
    assert folded.count("BatchNormalization") == 0
