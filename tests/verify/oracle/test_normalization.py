"""Normalizations of the oracle against their formulas, element by element."""

import numpy as np
import pytest

from bnfold.errors import InputError
from bnfold.verify.oracle.normalization import batch_norm, lrn
from tests.verify.oracle.nodes import by_oracle, normal, one_node

EPSILON = 0.25


@pytest.mark.parametrize("opset", [7, 9, 14, 15, 17])
@pytest.mark.parametrize("spatial", [(), (4,), (4, 5), (4, 5, 6)])
def test_batch_norm_uses_its_stored_statistics(opset: int, spatial: tuple[int, ...]) -> None:
    """In every opset and rank y = γ(x − μ)/√(σ² + ε) + β, also in opset 9, where onnx's reference trains."""
    operands = {"x": normal(2, 3, *spatial)}
    operands |= {name: np.abs(normal(3, seed=seed)) for seed, name in enumerate(["scale", "bias", "mean", "variance"])}
    proto = one_node("BatchNormalization", operands, opset=opset, epsilon=EPSILON)
    x, *parameters = (array.astype(np.float64) for array in operands.values())
    scale, bias, mean, variance = (values.reshape(3, *[1] * len(spatial)) for values in parameters)
    expected = scale * (x - mean) / np.sqrt(variance + EPSILON) + bias
    np.testing.assert_allclose(by_oracle(proto, operands)[0], expected, rtol=1e-14)


def test_batch_norm_by_activation() -> None:
    """With spatial=0, of opset 7, every activation has parameters of its own."""
    operands = {"x": normal(5, 2, 3)}
    operands |= {name: np.abs(normal(2, 3, seed=seed)) for seed, name in enumerate("gbmv")}
    proto = one_node("BatchNormalization", operands, opset=7, epsilon=EPSILON, spatial=0)
    x, scale, bias, mean, variance = (array.astype(np.float64) for array in operands.values())
    expected = scale * (x - mean) / np.sqrt(variance + EPSILON) + bias
    np.testing.assert_allclose(by_oracle(proto, operands)[0], expected, rtol=1e-14)


def test_default_epsilon_is_the_stored_float() -> None:
    """A node without ε has that of the operator's definition, a float32: 1e-5 in double is another number."""
    operands = {"x": np.ones((1, 1), np.float32), "g": np.ones(1, np.float32)}
    operands |= {name: np.zeros(1, np.float32) for name in "bmv"}
    y = by_oracle(one_node("BatchNormalization", operands), operands)[0]
    assert y.item() == 1 / np.sqrt(np.float64(np.float32(1e-5)))


def test_training_mode_is_refused() -> None:
    """A BatchNormalization that trains has no fixed function to compare with."""
    ones = np.ones(2)
    with pytest.raises(InputError, match="training mode"):
        batch_norm(np.ones((3, 2)), ones, ones, ones, ones, epsilon=EPSILON, training_mode=1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_lrn_sums_over_the_channels_around_each(size: int) -> None:
    """The window of c runs from c − ⌊(size−1)/2⌋ to c + ⌈(size−1)/2⌉; there are more channels than samples."""
    x = normal(2, 7, 3, 2).astype(np.float64)
    y = lrn(x, alpha=0.5, beta=0.75, bias=2.0, size=size)
    for channel in range(7):
        around = x[:, max(0, channel - (size - 1) // 2) : channel + size // 2 + 1]
        expected = x[:, channel] / (2.0 + 0.5 / size * (around**2).sum(axis=1)) ** 0.75
        np.testing.assert_allclose(y[:, channel], expected, rtol=1e-13)
