"""Real third-party files: the classification networks of the onnx package, IR 3 and opset 9, by Caffe2's converter.

As shipped, every constant comes from a ConstantOfShape of one number. With random numbers in their place, and in
float64 so that the comparison sees the algebra and not the rounding of weights, wrong channels show.
"""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bnfold.folding import FoldReport, Objective, fold
from bnfold.folding.report import Reason
from bnfold.graph import load
from tests.folding import checker

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

BATCH_NORMS = {"resnet50": 53, "inception_v2": 69, "shufflenet": 49, "densenet121": 121}

SIDES = {"resnet50": 32, "inception_v2": 32, "shufflenet": 224, "densenet121": 32}
"""Extent of the images: a fiftieth of the work of 224. Shufflenet's Reshapes are written for 224."""


def shipped(name: str) -> ir.Model:
    """Return a network as shipped."""
    return load(FOLDER / f"light_{name}.onnx")


def randomized(name: str, seed: int = 0) -> ir.Model:
    """Return a network in float64 with random weights and parameters, γ > 0, for images of `SIDES`."""
    model = shipped(name)
    generator = np.random.default_rng(seed)
    for node in list(model.graph):
        if node.op_type == "ConstantOfShape":
            _randomize(model.graph, node, generator)
        kernel = node.attributes.get("kernel_shape")
        if node.op_type == "AveragePool" and kernel is not None and tuple(kernel.as_ints()) == (7, 7):
            node.op_type = "GlobalAveragePool"
            node.attributes.clear()
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype is ir.DataType.FLOAT:
            value.type = ir.TensorType(ir.DataType.DOUBLE)
            if value.const_value is not None:
                value.const_value = ir.tensor(value.const_value.numpy().astype(np.float64), name=value.name)
    (x,) = (value for value in model.graph.inputs if not value.is_initializer())
    x.shape = ir.Shape([1, 3, SIDES[name], SIDES[name]])
    return model


def _randomize(graph: ir.Graph, node: ir.Node, generator: np.random.Generator) -> None:
    """Store random numbers where a ConstantOfShape was: γ and variances positive."""
    (shape,), result = node.inputs, node.outputs[0]
    assert shape is not None
    assert shape.const_value is not None
    dims = tuple(shape.const_value.numpy().tolist())
    readers = {(use.node.op_type, use.idx) for use in result.uses()}
    fan_in = int(np.prod(dims[1:])) if len(dims) > 1 else 1
    numbers = generator.standard_normal(dims) * np.sqrt(2 / fan_in)
    if readers & {("BatchNormalization", 1), ("BatchNormalization", 4), ("Unsqueeze", 0), ("Mul", 1)}:
        numbers = generator.uniform(0.5, 1.5, dims)
    value = ir.Value(name=f"{result.name}_random", const_value=ir.tensor(numbers, name=f"{result.name}_random"))
    value.shape, value.type = ir.Shape(dims), ir.TensorType(ir.DataType.DOUBLE)
    graph.register_initializer(value)
    graph.inputs.append(value)
    result.replace_all_uses_with(value)
    graph.remove(node, safe=True)


def compare(original: ir.Model, objective: Objective = Objective.LATENCY) -> tuple[ir.Model, FoldReport]:
    """Fold a copy and compare the outputs."""
    candidate = original.clone()
    report = fold(candidate, objective)
    checker.check_signature(original, candidate)
    checker.check_account(original, candidate, report)
    checker.check_results(original, candidate, checker.random_inputs(original))
    return candidate, report


@pytest.mark.parametrize("name", ["resnet50", "inception_v2", "shufflenet"])
def test_all_normalizations_go_from_the_files_as_shipped(name: str) -> None:
    """53, 69 and 49 normalizations come out as none, and the rest still is a valid model."""
    model = shipped(name)
    report = fold(model)
    assert (report.removed_count, report.kept_count) == (BATCH_NORMS[name], 0)
    checker.check_valid(model)


@pytest.mark.parametrize("name", ["resnet50", "inception_v2", "shufflenet"])
def test_random_weights_give_equal_outputs(name: str) -> None:
    """The same with random float64 weights, compared in float64; no Mul or Add is left where Caffe2 had put γ and β."""
    candidate, report = compare(randomized(name))
    assert report.kept_count == 0
    left = {node.op_type for node in candidate.graph}
    assert left.isdisjoint({"BatchNormalization", "Mul", "Add", "Unsqueeze"})


def test_densenet_keeps_what_has_a_price() -> None:
    """DenseNet-121: a feature that several layers normalize, each for itself, goes into its producer for one of them.

    For the others a normalization stays, which with the Relu behind it is one pass on the CPU, where a maximum would be
    three times as slow; it takes up the Mul and Add that Caffe2 had put behind it.
    """
    candidate, report = compare(randomized("densenet121"))
    assert report.kept_count <= 59
    assert {outcome.reason for outcome in report.batch_norms if not outcome.removed} == {Reason.SLOWER}
    assert {node.op_type for node in candidate.graph}.isdisjoint({"Mul", "Add"})


def test_densenet_folds_whole_where_none_may_stay() -> None:
    """With thresholds all 121 go, and the Muls and Adds behind them."""
    candidate, report = compare(randomized("densenet121"), Objective.NO_BN)
    assert report.kept_count == 0
    assert {node.op_type for node in candidate.graph}.isdisjoint({"BatchNormalization", "Mul"})


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCH_NORMS)
@pytest.mark.parametrize("objective", Objective)
def test_folding_again_changes_nothing(name: str, objective: Objective) -> None:
    """Folded networks are fixed points, to the byte."""
    model = randomized(name)
    fold(model, objective)
    checker.check_idempotent(model, objective)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "inception_v2", "shufflenet"])
def test_outputs_as_shipped(name: str) -> None:
    """On images of 224 × 224 the shipped files give what they gave: a softmax whose float32 weights were rounded anew.

    The deepest has 69 layers of two roundings of 2⁻²⁴ each.
    """
    original = shipped(name)
    candidate = original.clone()
    fold(candidate)
    checker.check_results(original, candidate, checker.random_inputs(original), relative=2 * 69 * 2.0**-24)
