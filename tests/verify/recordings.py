"""Recorded placements: what ONNX Runtime tells of a small network on CUDA, right and with each silent fall-back."""

import json
from dataclasses import replace
from typing import Any

from bnfold.verify.placement import PlacedNode, Placement
from bnfold.verify.provider import Provider

CPU, CUDA, TENSORRT = Provider.CPU.runtime_name, Provider.CUDA.runtime_name, Provider.TENSORRT.runtime_name

FLOAT, INTEGER = ("float",), ("int64",)


def event(name: str, op_type: str, provider: str, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Return one event of an ONNX Runtime profile (1.31), without the figures that nobody reads."""
    return {
        "cat": "Node",
        "pid": 1,
        "tid": 1,
        "dur": 10,
        "ts": 100,
        "ph": "X",
        "name": f"{name}_kernel_time",
        "args": {
            "op_name": op_type,
            "provider": provider,
            "node_index": "0",
            "input_type_shape": [{"float": [2, 4, 8, 8]}],
            "output_type_shape": [{kind: [2, 4, 8, 8]} for kind in outputs],
        },
    }


def profile(*nodes: PlacedNode) -> str:
    """Return a profile in which ``nodes`` ran, among the events that are no kernels."""
    others = [
        {"cat": "Session", "name": "model_run", "ph": "X", "ts": 1, "dur": 2, "args": {}},
        {"cat": "Session", "name": "SequentialExecutor::Execute", "ph": "X", "ts": 1, "dur": 2, "args": {}},
        {"cat": "Node", "name": "conv_fence_before", "ph": "X", "ts": 1, "dur": 0, "args": {"op_name": "Conv"}},
        {
            "cat": "Kernel",
            "name": "void cudnn::winograd_nonfused",
            "ph": "X",
            "ts": 1,
            "dur": 0,
            "args": {"stream": "7"},
        },
    ]
    return json.dumps([*others, *(event(n.name, n.op_type, n.provider, n.outputs) for n in nodes)])


ON_CUDA = Placement(
    providers=(CUDA, CPU),
    options={CUDA: {"use_tf32": "0"}, CPU: {}},
    assigned=(
        PlacedNode("conv", "Conv", CUDA),
        PlacedNode("bn", "BatchNormalization", CUDA),
        PlacedNode("relu", "Relu", CUDA),
        PlacedNode("shape", "Shape", CPU),
        PlacedNode("gather", "Gather", CPU),
        PlacedNode("concat", "Concat", CPU),
        PlacedNode("reshape", "Reshape", CUDA),
    ),
    executed=(
        PlacedNode("Memcpy_x", "MemcpyFromHost", CUDA, FLOAT),
        PlacedNode("conv", "Conv", CUDA, FLOAT),
        PlacedNode("bn", "BatchNormalization", CUDA, FLOAT),
        PlacedNode("relu", "Relu", CUDA, FLOAT),
        PlacedNode("shape", "Shape", CPU, INTEGER),
        PlacedNode("gather", "Gather", CPU, INTEGER),
        PlacedNode("concat", "Concat", CPU, INTEGER),
        PlacedNode("reshape", "Reshape", CUDA, FLOAT),
    ),
)
"""The network as it should run: work on CUDA, the arithmetic of the reshape's extents on the CPU."""


def moved(placement: Placement, name: str, provider: str, *, only: str | None = None) -> Placement:
    """Return ``placement`` with the node ``name`` on ``provider``, in both records or in ``only`` one of them."""

    def move(nodes: tuple[PlacedNode, ...]) -> tuple[PlacedNode, ...]:
        return tuple(replace(node, provider=provider) if node.name == name else node for node in nodes)

    fields = {field: move(getattr(placement, field)) for field in ("assigned", "executed") if only in {None, field}}
    return replace(placement, **fields)
