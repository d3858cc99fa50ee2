"""Parameters not stored where they are used: Constant nodes, ConstantOfShape, Cast, Identity, arithmetic, QDQ."""

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bnfold.folding import Reason
from tests.folding.builder import Builder, Tensor
from tests.folding.checker import fold_checked

Wrap = Callable[[Builder, Tensor], str]


def constant_node(b: Builder, array: Tensor) -> str:
    """A Constant node."""
    return b("Constant", value=numpy_helper.from_array(array))


def identity(b: Builder, array: Tensor) -> str:
    """An initializer behind two Identity nodes."""
    return b("Identity", b("Identity", b.stored(array)))


def cast(b: Builder, array: Tensor) -> str:
    """A float16 initializer behind a Cast."""
    return b("Cast", b.stored(array, dtype=np.float16), to=TensorProto.DOUBLE)


def cast_bfloat16(b: Builder, array: Tensor) -> str:
    """A bfloat16 initializer behind a Cast."""
    return b("Cast", b.stored(array, dtype=ml_dtypes.bfloat16), to=TensorProto.DOUBLE)


def of_shape(b: Builder, array: Tensor) -> str:
    """A ConstantOfShape, times a scalar."""
    value = helper.make_tensor("value", TensorProto.DOUBLE, [1], [float(array.flat[0])])
    return b("ConstantOfShape", b.integers(*array.shape), value=value)


def reshaped(b: Builder, array: Tensor) -> str:
    """A flat initializer behind a Reshape."""
    return b("Reshape", b.stored(array.ravel()), b.integers(*array.shape))


def transposed(b: Builder, array: Tensor) -> str:
    """A transposed initializer behind a Transpose."""
    return b("Transpose", b.stored(array.T))


def standardized(b: Builder, array: Tensor) -> str:
    """(w − least) · gain, computed in the graph as weight standardization is."""
    return b("Mul", b("Sub", b.stored(array), b.stored(array.min() / 2)), b.stored(2.0))


WRAPS: list[Wrap] = [
    constant_node,
    identity,
    cast,
    cast_bfloat16,
    of_shape,
    reshaped,
    transposed,
    standardized,
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_weights_and_parameters_behind_nodes(wrap: Wrap) -> None:
    """Conv's weight and bias and all four of BN's come through nodes: folded, and the nodes that prepared them gone."""
    b = Builder()

    def parameter(*shape: int) -> str:
        return wrap(b, b.generator.uniform(0.5, 2.0, shape))

    x = b("Conv", b.input("N", 3, 5, 4), parameter(4, 3, 2, 2), parameter(4))
    y = b("BatchNormalization", x, *(parameter(4) for _ in range(4)))
    folded = fold_checked(b.model(b("Relu", y)))
    assert [node.op_type for node in folded.model.graph] == ["Conv", "Relu"]


def test_a_prepared_weight_that_others_read() -> None:
    """The node that prepares a weight stays where something else reads it."""
    b = Builder()
    weight = b("Identity", b.normal(4, 3, 2, 2))
    x = b.input("N", 3, 5, 4)
    y = b.batch_norm(b("Conv", x, weight), 4)
    folded = fold_checked(b.model(b("Relu", y), b("Sigmoid", b("Conv", x, weight))))
    assert folded.count("BatchNormalization") == 0
    assert folded.count("Identity") == 1


def quantized(b: Builder, array: Tensor) -> str:
    """An int8 weight behind DequantizeLinear."""
    scale = float(np.abs(array).max() / 127)
    stored = b.stored(np.round(array / scale), dtype=np.int8)
    return b("DequantizeLinear", stored, b.stored(scale), b.stored(0, dtype=np.int8))


def test_weights_of_a_quantized_graph_are_left_alone() -> None:
    """A Conv whose weight is dequantized keeps it: int8 numbers cannot take up a scale."""
    b = Builder(dtype=np.float32, opset=21)
    x = b("Conv", b.input("N", 3, 5, 4), quantized(b, b.generator.standard_normal((4, 3, 2, 2))))
    folded = fold_checked(b.model(b("Relu", b.batch_norm(x, 4))), relative=1e-6)
    (outcome,) = folded.report.batch_norms
    assert not outcome.removed
    assert folded.count("DequantizeLinear") == 1


def test_quantized_activations_keep_their_values() -> None:
    """What goes into a QuantizeLinear is at the scale that its zero point and step were chosen for."""
    b = Builder(dtype=np.float32, opset=21)
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 4, 2, 2), 4)
    step, zero = b.stored(0.05), b.stored(3, dtype=np.int8)
    x = b("DequantizeLinear", b("QuantizeLinear", x, step, zero), step, zero)
    model = b.model(b("Relu", b.batch_norm(x, 4)))
    # One step of the quantizer where rounding of the weights moves a value across the border between two.
    folded = fold_checked(model, relative=0.05)
    assert [outcome.removed for outcome in folded.report.batch_norms] == [True, False]
    assert folded.report.batch_norms[1].reason is not Reason.UNSUPPORTED
