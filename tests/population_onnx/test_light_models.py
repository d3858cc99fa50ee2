"""Third-party networks of 49 to 121 BN layers, against an evaluation in float64 that ONNX Runtime has no part in.

The oracle of `bnfold.verify` evaluates one batch of everything, and every BN layer normalizes by the moments, taken by
NumPy, of what it is given.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.export.ports import set_shapes
from bnfold.population.report import UNDERSAMPLED
from bnfold.population_onnx import calibrate
from bnfold.verify.oracle import Oracle, Value
from bnfold.verify.oracle.evaluator import Step
from tests.folding.test_light_models import BATCH_NORMS, randomized

AGREEMENT = 1e-5
"""What the estimator promises, over a hundred layers of float32 activations; in units of what the layer divides by."""

RARELY_ON = "shufflenet"
"""Many of its channels are on in one place of hundreds, for which float32's rounding decides: two ways of ONNX Runtime
to run it differ by 3e-4 there. They are those that a report names as undersampled."""

SIZES = {"resnet50": (40, 64), "inception_v2": (40, 64), "densenet121": (40, 64), "shufflenet": (24, 224)}
"""Samples, and extent of the images: a layer's last feature maps have a hundred values and more in all.

With a handful of values the variance of one channel of thousands comes out small by chance, and rounding weighs more.
"""

QUICK = "inception_v2"

Statistics = dict[str, tuple[np.ndarray, np.ndarray]]


def in_float32(name: str) -> ir.Model:
    """Return a network with random float32 weights, for batches of any size."""
    model = randomized(name)
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *model.graph.outputs):
        if value.dtype is ir.DataType.DOUBLE:
            value.type = ir.TensorType(ir.DataType.FLOAT)
            if value.const_value is not None:
                value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
    (images,) = (value for value in model.graph.inputs if not value.is_initializer())
    _, side = SIZES[name]
    set_shapes(model, {images.name or "": ("N", 3, side, side)})
    return model


def full_batch(model: ir.Model, inputs: Mapping[str, np.ndarray]) -> Statistics:
    """Return mean and unbiased variance of every BN layer's input by the layer's output, in float64."""
    found: Statistics = {}
    norms = [node for node in model.graph if node.op_type == "BatchNormalization"]
    eps = {node.outputs[0].name: node.attributes.get_float("epsilon", 1e-5) for node in norms}

    def normalize(step: Step, results: dict[str, Value]) -> dict[str, Value]:
        if step.op_type != "BatchNormalization":
            return results
        (output,) = results
        values, gamma, beta = (step.value(name) for name in step.inputs[:3])
        axes = (0, *range(2, values.ndim))
        mean, variance = values.mean(axis=axes), values.var(axis=axes, ddof=1)
        found[output] = mean, variance
        along = (-1, *(1,) * (values.ndim - 2))
        scaled = (values - mean.reshape(along)) / np.sqrt(variance + eps[output]).reshape(along)
        return {output: gamma.reshape(along) * scaled + beta.reshape(along)}

    Oracle(model).run(inputs, hook=normalize)
    return found


@pytest.mark.parametrize(
    "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BATCH_NORMS]
)
def test_the_statistics_are_those_of_the_full_batch_in_float64(name: str) -> None:
    """Every channel of every layer to 1e-5, from batches of seven with a ragged end."""
    model = in_float32(name)
    samples, side = SIZES[name]
    (images,) = (value.name or "" for value in model.graph.inputs if not value.is_initializer())
    generator = np.random.default_rng(1)
    inputs = {images: generator.standard_normal((samples, 3, side, side)).astype(np.float32)}
    expected = full_batch(model, inputs)
    assert len(expected) == BATCH_NORMS[name]
    report = calibrate(model, inputs, batch_size=7)
    layers = {node.name or node.outputs[0].name: node.outputs[0].name for node in model.graph}
    assert len(report.layers) == BATCH_NORMS[name]
    checked = 0
    for layer in report.layers:
        mean, variance = expected[layers[layer.name] or ""]
        spread = variance + layer.eps
        off = np.maximum(
            np.abs(layer.new_mean - mean) / np.sqrt(spread), np.abs(layer.new_variance - variance) / spread
        )
        left_out = layer.undersampled(UNDERSAMPLED) if name == RARELY_ON else []
        assert np.delete(off, left_out).max(initial=0.0) <= AGREEMENT, layer.name
        checked += off.size - len(left_out)
    assert checked > 2000
