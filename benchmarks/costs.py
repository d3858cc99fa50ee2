"""Measures the figures of the cost model (`bnfold.folding.costs`) on this device; ``python -m benchmarks.costs``.

A chain of linear operators is timed with and without a pass behind each of them; the difference, by element, is what
the pass costs there. Between images a pooling keeps the runtime from folding a normalization into the convolution.
All chains of one shape run in turn in one session loop, on one thread, and the fastest run of each counts, since what
disturbs a run only ever makes it slower.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from bnfold.verify.provider import Provider

LINKS = 6
SHAPES = ((1, 32, 56, 56), (1, 64, 28, 28), (1, 256, 14, 14))

CHAINS: Mapping[str, Sequence[str]] = {
    "base": ("MaxPool",),
    "normalization": ("MaxPool", "BatchNormalization"),
    "normalization and Relu": ("MaxPool", "BatchNormalization", "Relu"),
    "relu": ("MaxPool", "Relu"),
    "relu behind Conv": ("Relu", "MaxPool"),
    "threshold": ("MaxPool", "Max"),
    "threshold behind Conv": ("Max", "MaxPool"),
    "addition": ("MaxPool", "Add"),
    "multiplication": ("MaxPool", "Mul"),
    "border_map": ("border", "MaxPool"),
}
"""What stands behind each Conv."""


def chain(passes: Sequence[str], shape: Sequence[int]) -> bytes:
    """Return a model of `LINKS` pointwise Convs of C channels, each with the passes behind it."""
    rng, (_, channels, *spatial) = np.random.default_rng(0), shape
    tensors: dict[str, np.ndarray] = {}

    def stored(array: np.ndarray) -> str:
        tensors[f"c{len(tensors)}"] = array.astype(np.float32)
        return f"c{len(tensors) - 1}"

    def operands(op_type: str) -> list[str]:
        match op_type:
            case "Conv":
                return [stored(rng.normal(size=(channels, channels, 1, 1)) / channels**0.5)]
            case "BatchNormalization":
                return [stored(rng.uniform(0.5, 2.0, channels)) for _ in range(4)]
            case "Max" | "Add" | "Mul":
                return [stored(rng.uniform(0.5, 2.0, (channels, 1, 1)))]
            case "border":
                return [stored(rng.normal(size=(1, channels, *spatial)))]
            case _:
                return []

    nodes: list[NodeProto] = []
    x = "x"
    for op_type in LINKS * ["Conv", *passes]:
        attributes: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]} if op_type == "MaxPool" else {}
        name = "Add" if op_type == "border" else op_type
        nodes.append(helper.make_node(name, [x, *operands(op_type)], [f"v{len(nodes)}"], **attributes))
        x = f"v{len(nodes) - 1}"
    ports = [helper.make_tensor_value_info(port, TensorProto.FLOAT, shape) for port in ("x", x)]
    weights = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def measure(shape: Sequence[int], provider: str, seconds: float) -> dict[str, float]:
    """Return nanoseconds an element of what each chain has more than the first."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    sessions = {
        name: onnxruntime.InferenceSession(chain(passes, shape), options, providers=[provider])
        for name, passes in CHAINS.items()
    }
    inputs = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    fastest = dict.fromkeys(CHAINS, math.inf)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, inputs)
            fastest[name] = min(fastest[name], time.perf_counter() - start)
    links = LINKS * math.prod(shape)
    return {name: 1e9 * (time_ - fastest["base"]) / links for name, time_ in fastest.items() if name != "base"}


def main() -> None:
    """Print one column a shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", choices=[provider.value for provider in Provider], default="cpu")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure each shape; default: 5")
    arguments = parser.parse_args()
    provider = Provider(arguments.provider)
    columns = [measure(shape, provider.runtime_name, arguments.seconds) for shape in SHAPES]
    table = Table("pass", *("×".join(map(str, shape)) for shape in SHAPES), title=f"ns an element on {provider}")
    for name in CHAINS:
        if name != "base":
            table.add_row(name, *(f"{column[name]:.2f}" for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
