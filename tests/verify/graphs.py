"""Small graphs with Batch Normalization, and their folds made by hand with NumPy: right, or with a planted fault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]

EPSILON = 0.0625
"""Large, so that a wrong one shows, and exact in float32, so that hand and graph mean the same number."""


@dataclass(frozen=True)
class Layer:
    """One Conv with its BatchNormalization, float32 numbers as double: weight (M, C/group, 3, 3), the rest (M,)."""

    weight: Array
    bias: Array
    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    group: int = 1

    @classmethod
    def random(cls, generator: np.random.Generator, inputs: int, outputs: int, group: int = 1) -> "Layer":
        """Draw a layer whose output has about the size of its input."""
        fan_in = inputs // group * 9

        def stored(values: Array) -> Array:
            return values.astype(np.float32).astype(np.float64)

        return cls(
            stored(generator.standard_normal((outputs, inputs // group, 3, 3)) * np.sqrt(2 / fan_in)),
            stored(generator.standard_normal(outputs)),
            stored(generator.uniform(0.5, 1.5, outputs)),
            stored(generator.standard_normal(outputs)),
            stored(generator.standard_normal(outputs)),
            stored(generator.uniform(0.25, 2, outputs)),
            group,
        )

    def folded(self, epsilon: float = EPSILON) -> tuple[Array, Array]:
        """Return w' = w·γ/√(σ² + ε) and b' = (b − μ)·γ/√(σ² + ε) + β."""
        scale = self.gamma / np.sqrt(self.variance + epsilon)
        return self.weight * scale[:, None, None, None], (self.bias - self.mean) * scale + self.beta


Fold = Callable[[Layer], tuple[Array, Array]]


def wrong_epsilon(layer: Layer) -> tuple[Array, Array]:
    """Plant a fault: fold with ε a thousandth too large."""
    return layer.folded(EPSILON * 1.001)


def unscaled_bias(layer: Layer) -> tuple[Array, Array]:
    """Plant a fault: leave the convolution's own bias out of the scaling."""
    weight, bias = layer.folded()
    scale = layer.gamma / np.sqrt(layer.variance + EPSILON)
    return weight, bias - layer.bias * scale + layer.bias


def biased_variance(layer: Layer) -> tuple[Array, Array]:
    """Plant a fault: use the biased variance of 1000 values instead of the unbiased."""
    return replace(layer, variance=layer.variance * 999 / 1000).folded()


def swapped_group(layer: Layer) -> tuple[Array, Array]:
    """Plant a fault: give the first half of the output channels the scales of the second."""
    scale = np.roll(layer.gamma / np.sqrt(layer.variance + EPSILON), len(layer.gamma) // 2)
    return layer.weight * scale[:, None, None, None], layer.folded()[1]


def right(layer: Layer) -> tuple[Array, Array]:
    """Fold as it should be."""
    return layer.folded()


FAULTS: dict[str, Fold] = {
    fault.__name__: fault for fault in (wrong_epsilon, unscaled_bias, biased_variance, swapped_group)
}


def random_layers(seed: int = 0) -> list[Layer]:
    """Return three layers, the second grouped: 3 → 8 → 6 → 10 channels."""
    generator = np.random.default_rng(seed)
    shapes = [(3, 8, 1), (8, 6, 2), (6, 10, 1)]
    return [Layer.random(generator, inputs, outputs, group) for inputs, outputs, group in shapes]


def network(
    layers: list[Layer],
    fold: Fold | None = None,
    *,
    batch: int | str = "N",
    opset: int = 17,
    dtype: type[np.floating] = np.float32,
) -> onnx.ModelProto:
    """Return images (N, C, 12, 12) → [Conv, BatchNormalization, Relu]… → GlobalAveragePool → logits (N, M).

    With ``fold``, its weights and biases stand where Conv and BatchNormalization did. All numbers are of ``dtype``.
    """
    nodes: list[onnx.NodeProto] = []
    tensors: Arrays = {}
    value = "images"
    for index, layer in enumerate(layers):
        value = _append_layer(nodes, tensors, value, index, layer, fold)
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten"))
    channels = layers[0].weight.shape[1] * layers[0].group
    return model(
        nodes,
        {"images": [batch, channels, 12, 12]},
        {"logits": [batch, len(layers[-1].gamma)]},
        {name: array.astype(dtype) for name, array in tensors.items()},
        opset=opset,
        dtype=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
    )


def _append_layer(
    nodes: list[onnx.NodeProto], tensors: Arrays, value: str, index: int, layer: Layer, fold: Fold | None
) -> str:
    weight, bias = (layer.weight, layer.bias) if fold is None else fold(layer)
    tensors |= {f"weight{index}": weight, f"bias{index}": bias}
    names = [value, f"weight{index}", f"bias{index}"]
    pads = [1, 1, 1, 1]
    nodes.append(helper.make_node("Conv", names, [f"conv{index}"], name=f"conv{index}", group=layer.group, pads=pads))
    value = f"conv{index}"
    if fold is None:
        statistics = ("gamma", "beta", "mean", "variance")
        tensors |= {f"{name}{index}": getattr(layer, name) for name in statistics}
        names = [value, *(f"{name}{index}" for name in statistics)]
        value = f"bn{index}"
        nodes.append(helper.make_node("BatchNormalization", names, [value], name=value, epsilon=EPSILON))
    nodes.append(helper.make_node("Relu", [value], [f"relu{index}"], name=f"relu{index}"))
    return f"relu{index}"


def model(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, list[int | str]],
    outputs: Mapping[str, list[int | str] | None],
    tensors: Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a checked model of ``nodes``; all inputs and outputs are of type ``dtype``."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, dtype, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (tensors or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto)
    return proto


def single(*values: float) -> npt.NDArray[np.float32]:
    """Return ``values`` as a float32 array."""
    return np.asarray(values, np.float32)


def saved(proto: onnx.ModelProto, path: Path) -> Path:
    """Write ``proto`` to ``path`` and return the path."""
    onnx.save(proto, path)
    return path


def images(samples: int, *, channels: int = 3, seed: int = 1) -> Arrays:
    """Return standard-normal images for ``network``."""
    generator = np.random.default_rng(seed)
    return {"images": generator.standard_normal((samples, channels, 12, 12)).astype(np.float32)}
