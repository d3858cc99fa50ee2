"""Graphs, concisely: a builder that names values, draws weights and knows the parameters of every layer type."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

Tensor = npt.NDArray[Any]
Dim = int | str | None

EPSILON = 0.25
"""Large, so that a missing one shows, and exact in float32, so that attribute and formula mean the same number."""


class Builder:
    """A graph that grows node by node; a value is known by its name.

    Weights and activations are of type ``dtype``, float64 by default, so that a fold rounds nothing that matters.
    """

    def __init__(
        self, *, seed: int = 0, dtype: npt.DTypeLike = np.float64, opset: int = 17, ir_version: int = 8
    ) -> None:
        self.generator = np.random.default_rng(seed)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.opset, self.ir_version = opset, ir_version
        self.inputs: list[onnx.ValueInfoProto] = []
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.value_infos: list[onnx.ValueInfoProto] = []
        self._count = 0

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    # Values

    def input(self, *dims: Dim, name: str = "x", dtype: npt.DTypeLike | None = None) -> str:
        """Declare a graph input; an extent is a number, a symbol, or None where nothing is declared."""
        self.inputs.append(self._declared(name, dims, dtype))
        return name

    def declare(self, name: str, *dims: Dim) -> None:
        """Declare the type and extents of a value inside the graph."""
        self.value_infos.append(self._declared(name, dims))

    def _declared(
        self, name: str, dims: Sequence[Dim] | None, dtype: npt.DTypeLike | None = None
    ) -> onnx.ValueInfoProto:
        element = helper.np_dtype_to_tensor_dtype(self.dtype if dtype is None else np.dtype(dtype))
        return helper.make_tensor_value_info(name, element, dims)

    def stored(self, array: npt.ArrayLike, name: str | None = None, dtype: npt.DTypeLike | None = None) -> str:
        """Add an initializer; numbers take the builder's type, integers as they are where ``dtype`` says so."""
        name = name or self._name("weight")
        self.tensors[name] = np.asarray(array).astype(self.dtype if dtype is None else np.dtype(dtype))
        return name

    def integers(self, *numbers: int) -> str:
        """Add an int64 initializer of rank 1."""
        return self.stored(np.array(numbers, dtype=np.int64), dtype=np.int64)

    def normal(self, *shape: int) -> str:
        """Add a standard-normal initializer."""
        return self.stored(self.generator.standard_normal(shape))

    def positive(self, *shape: int) -> str:
        """Add an initializer of numbers between 0.5 and 2."""
        return self.stored(self.generator.uniform(0.5, 2.0, shape))

    # Nodes

    def __call__(
        self, op_type: str, *inputs: str | None, outputs: int = 1, name: str | None = None, **attributes: Any
    ) -> str:
        """Add a node; return the name of its first output."""
        name = name or self._name(op_type.lower())
        names = [f"{name}_out", *(f"{name}_out{index}" for index in range(1, outputs))]
        self.nodes.append(helper.make_node(op_type, [value or "" for value in inputs], names, name=name, **attributes))
        return names[0]

    def last_outputs(self) -> list[str]:
        """Return the output names of the node added last."""
        return list(self.nodes[-1].output)

    def conv(
        self, x: str, inputs: int, outputs: int, *kernel: int, bias: bool = True, group: int = 1, **attributes: Any
    ) -> str:
        """Add a Conv with random weights (M, C/g, *kernel)."""
        weight = self.normal(outputs, inputs // group, *kernel)
        biases = [self.normal(outputs)] if bias else []
        return self("Conv", x, weight, *biases, group=group, **attributes)

    def matmul(self, x: str, inputs: int, outputs: int, *, bias: bool = True) -> str:
        """Add a MatMul with a random weight (K, M), and an Add of a random bias."""
        product = self("MatMul", x, self.normal(inputs, outputs))
        return self("Add", product, self.normal(outputs)) if bias else product

    def batch_norm(
        self,
        x: str,
        channels: int,
        *,
        gamma: npt.ArrayLike | None = None,
        beta: npt.ArrayLike | None = None,
        mean: npt.ArrayLike | None = None,
        variance: npt.ArrayLike | None = None,
        epsilon: float = EPSILON,
        name: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a BatchNormalization; parameters that are not given are random, γ and variance positive."""

        def parameter(given: npt.ArrayLike | None, default: Tensor) -> str:
            return self.stored(default if given is None else given)

        draw = self.generator
        parameters = (
            parameter(gamma, draw.uniform(0.5, 2.0, channels)),
            parameter(beta, draw.standard_normal(channels)),
            parameter(mean, draw.standard_normal(channels)),
            parameter(variance, draw.uniform(0.5, 2.0, channels)),
        )
        return self("BatchNormalization", x, *parameters, name=name, epsilon=epsilon, **attributes)

    # Result

    def drop_dead(self, outputs: Sequence[str]) -> None:
        """Remove nodes and initializers that no output needs."""
        needed = set(outputs)
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
        self.nodes = [node for node in self.nodes if needed.intersection(node.output)]
        self.tensors = {name: array for name, array in self.tensors.items() if name in needed}

    def proto(self, *outputs: str, types: Sequence[npt.DTypeLike] | None = None) -> onnx.ModelProto:
        """Return the checked model; the shapes of its outputs are those that shape inference finds."""
        dtypes = types or [self.dtype] * len(outputs)
        shapes = [self.tensors[name].shape if name in self.tensors else None for name in outputs]
        declared = [self._declared(*port) for port in zip(outputs, shapes, dtypes, strict=True)]
        graph = helper.make_graph(self.nodes, "graph", self.inputs, declared, value_info=self.value_infos)
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self.tensors.items())
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)
        if self.ir_version < 4:
            model.graph.input.extend(
                self._declared(name, array.shape, array.dtype) for name, array in self.tensors.items()
            )
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        del model.graph.output[:]
        model.graph.output.extend(inferred.graph.output)
        onnx.checker.check_model(model, full_check=True)
        return model

    def model(self, *outputs: str, types: Sequence[npt.DTypeLike] | None = None) -> ir.Model:
        """Return the checked model as IR."""
        return ir.from_proto(self.proto(*outputs, types=types))
