"""Graphs of one node, and what evaluates them besides the oracle."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import helper
from onnx.reference import ReferenceEvaluator

from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import open_session

Arrays = Mapping[str, npt.NDArray[Any]]


def one_node(
    op_type: str, inputs: Arrays, *, outputs: Sequence[str] = ("y",), opset: int = 17, **attributes: Any
) -> onnx.ModelProto:
    """Return the checked graph of one node whose operands are graph inputs, and whose outputs have the first's rank."""
    first = next(iter(inputs.values()))
    ports = [_port(name, array.dtype, array.shape) for name, array in inputs.items()]
    graph = helper.make_graph(
        [helper.make_node(op_type, list(inputs), list(outputs), name="node", **attributes)],
        "graph",
        ports,
        [_port(name, first.dtype, [None] * first.ndim) for name in outputs],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto)
    return proto


def _port(name: str, dtype: np.dtype[Any], dims: Sequence[int | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), dims)


def by_oracle(proto: onnx.ModelProto, inputs: Arrays) -> list[npt.NDArray[Any]]:
    """Evaluate ``proto`` by the oracle."""
    return list(Oracle(ir.from_proto(proto)).run(inputs).values())


def by_reference(proto: onnx.ModelProto, inputs: Arrays) -> list[npt.NDArray[Any]]:
    """Evaluate ``proto`` by onnx's own reference, operands in double."""
    results = ReferenceEvaluator(proto).run(None, {name: array.astype(np.float64) for name, array in inputs.items()})
    assert isinstance(results, list)
    return results


def by_runtime(proto: onnx.ModelProto, inputs: Arrays) -> list[npt.NDArray[Any]]:
    """Evaluate ``proto`` by ONNX Runtime in its own precision."""
    with open_session(proto.SerializeToString(), optimized=False) as session:
        return list(session.run(inputs).values())


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Draw standard-normal float32 values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
