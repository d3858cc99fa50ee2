"""Folds the same graphs with bnfold and five other tools: BNs left, error, time; ``python -m benchmarks.folding``.

The graphs are the ``light_*`` networks of the onnx package. They carry constants in place of weights, which hides most
mistakes, so that every constant is replaced by random numbers first, γ and Var between 0.5 and 2. The error is that of
the written file, evaluated in float64, against the original evaluated in float64, relative to the largest output: a
fold that is right shows the float32 rounding of its weights, about 1e-7 times the square root of the depth. Times are
medians of several runs, the tools in turn, load and save included, imports not.

``python -m benchmarks.folding --growth`` shows instead how bnfold's time grows with the number of nodes, on a residual
network of ever more blocks; linear growth is a constant time a node.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes
from rich.console import Console
from rich.table import Table

from bnfold.folding import Objective, fold
from bnfold.graph import load, save
from bnfold.graph.constants import Constants
from bnfold.verify.oracle import Oracle

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
NETWORKS = ("resnet50", "inception_v2", "shufflenet", "densenet121")


def by_bnfold(source: Path, target: Path) -> None:
    """Fold what costs nothing at run time."""
    model = load(source)
    fold(model)
    save(model, target)


def by_bnfold_no_bn(source: Path, target: Path) -> None:
    """Fold all that can be folded."""
    model = load(source)
    fold(model, Objective.NO_BN)
    save(model, target)


def by_onnxruntime(source: Path, target: Path) -> None:
    """ONNX Runtime's own rewriting at its basic level, saved."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3  # it warns of every initializer that it removes
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def by_onnxscript(source: Path, target: Path) -> None:
    """The optimizer of onnxscript and its fusions of BN into Conv, ConvTranspose and Gemm."""
    from onnxscript import optimizer, rewriter

    onnx.save(rewriter.rewrite(optimizer.optimize(onnx.load(source))), target)


def by_onnxslim(source: Path, target: Path) -> None:
    """onnxslim with its defaults."""
    import onnxslim

    slimmed = onnxslim.slim(onnx.load(source))
    assert isinstance(slimmed, onnx.ModelProto)
    onnx.save(slimmed, target)


def by_onnxsim(source: Path, target: Path) -> None:
    """onnxsim with its defaults."""
    import onnxsim

    simplified, _ = onnxsim.simplify(onnx.load(source))
    onnx.save(simplified, target)


def by_onnxoptimizer(source: Path, target: Path) -> None:
    """onnxoptimizer's passes that fold BN into Conv, after constants are lifted."""
    import onnxoptimizer

    passes = ["extract_constant_to_initializer", "fuse_bn_into_conv", "eliminate_unused_initializer"]
    onnx.save(onnxoptimizer.optimize(onnx.load(source), passes), target)


TOOLS: dict[str, Callable[[Path, Path], None]] = {
    "bnfold": by_bnfold,
    "bnfold no-bn": by_bnfold_no_bn,
    "ONNX Runtime": by_onnxruntime,
    "onnxscript": by_onnxscript,
    "onnxslim": by_onnxslim,
    "onnxsim": by_onnxsim,
    "onnxoptimizer": by_onnxoptimizer,
}


def randomized(name: str, target: Path) -> None:
    """Write a network with every computed or stored weight replaced by random numbers of the same shape."""
    model = load(LIGHT / f"light_{name}.onnx")
    rng, constants = np.random.default_rng(0), Constants(model)
    for node in list(model.graph):
        for slot, value in enumerate(node.inputs):
            content = constants.get(value)
            if value is None or content is None or content.dtype != np.float32 or node.op_type == "Unsqueeze":
                continue
            positive = node.op_type == "BatchNormalization" and slot in {1, 4}
            fan_in = max(1, content.size // content.shape[0]) if content.ndim > 1 else 1
            drawn = rng.uniform(0.5, 2.0, content.shape) if positive else rng.normal(size=content.shape) / fan_in**0.5
            if node.op_type == "Mul":
                drawn = rng.uniform(0.5, 2.0, content.shape)
            _replace(model, node, slot, drawn.astype(np.float32))
    (output,) = model.graph.outputs
    last = output.producer()
    if last is not None and last.op_type == "Softmax":  # its saturated outputs would hide every error
        (scores,) = last.inputs
        assert scores is not None
        scores.shape, scores.type = output.shape, output.type
        model.graph.outputs[0] = scores
    passes.RemoveUnusedNodesPass()(model)
    model.ir_version = 8
    declared = [value for value in model.graph.inputs if not value.is_initializer()]
    model.graph.inputs.clear()
    model.graph.inputs.extend(declared)
    save(model, target)


def _replace(model: ir.Model, node: ir.Node, slot: int, array: np.ndarray) -> None:
    tensor = ir.tensor(array, name=f"{node.outputs[0].name}.{slot}")
    value = ir.Value(
        name=tensor.name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    model.graph.register_initializer(value)
    node.replace_input_with(slot, value)


def error(original: Path, folded: Path) -> float:
    """Return the largest difference of any output in float64, relative to the largest output."""
    model = load(original)
    (value,) = [value for value in model.graph.inputs if not value.is_initializer()]
    assert value.shape is not None
    images = np.random.default_rng(1).normal(size=[int(str(dim)) for dim in value.shape])
    expected = Oracle(model).run({value.name or "": images})
    found = Oracle(load(folded)).run({value.name or "": images})
    return max(float(np.abs(found[name] - array).max() / np.abs(array).max()) for name, array in expected.items())


def seconds(by: Callable[[Path, Path], None], source: Path, target: Path) -> float:
    """Return how long one tool takes; what others left to be written, or to be collected, is done before."""
    os.sync()
    gc.collect()
    start = time.perf_counter()
    by(source, target)
    return time.perf_counter() - start


def compare(name: str, repeats: int) -> Table:
    """Return the table of one network."""
    table = Table("tool", "BNs left", "nodes", "error", "seconds", "ratio", title=name)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.onnx"
        targets = {tool: Path(folder) / f"{number}.onnx" for number, tool in enumerate(TOOLS)}
        randomized(name, source)
        for tool, by in TOOLS.items():
            by(source, targets[tool])  # imports what the tool needs
        times: dict[str, list[float]] = {tool: [] for tool in TOOLS}
        for _ in range(repeats):
            for tool, by in TOOLS.items():
                times[tool].append(seconds(by, source, targets[tool]))
        ours = statistics.median(times["bnfold"])
        for tool, target in targets.items():
            nodes = [node.op_type for node in onnx.load(target).graph.node]
            left, median = nodes.count("BatchNormalization"), statistics.median(times[tool])
            figures = (f"{error(source, target):.1e}", f"{median:.2f}", f"{median / ours:.2f}")
            table.add_row(tool, str(left), str(len(nodes)), *figures)
    return table


GROWTH = (1_250, 2_500, 5_000, 10_000, 20_000)
"""Nodes of the networks that show how time grows."""

CHANNELS = 16


def residual_network(nodes: int, target: Path) -> None:
    """Write blocks of Conv, BN, Relu, Conv, BN, Add, Relu."""
    rng = np.random.default_rng(0)
    values: dict[str, ir.Value] = {}

    def stored(name: str, array: np.ndarray) -> ir.Value:
        tensor = ir.tensor(array.astype(np.float32), name=name)
        values[name] = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        values[name].const_value = tensor
        return values[name]

    def normalized(x: ir.Value, name: str) -> ir.Value:
        weight = stored(f"{name}.weight", rng.normal(size=(CHANNELS, CHANNELS, 1, 1)) / CHANNELS**0.5)
        parameters = [stored(f"{name}.{part}", rng.uniform(0.5, 2.0, CHANNELS)) for part in ("γ", "β", "E", "Var")]
        conv = ir.node("Conv", [x, weight], name=f"{name}.conv")
        network.extend([conv, ir.node("BatchNormalization", [conv.outputs[0], *parameters], name=f"{name}.bn")])
        return network[-1].outputs[0]

    def then(operator: str, *inputs: ir.Value) -> ir.Value:
        network.append(ir.node(operator, inputs, name=f"node_{len(network)}"))
        return network[-1].outputs[0]

    network: list[ir.Node] = []
    declared = ir.Shape([1, CHANNELS, 8, 8]), ir.TensorType(ir.DataType.FLOAT)
    x = image = ir.Value(name="x", shape=declared[0], type=declared[1])
    while len(network) + 7 <= nodes:
        inner = then("Relu", normalized(x, f"block_{len(network)}.0"))
        x = then("Relu", then("Add", x, normalized(inner, f"block_{len(network)}.1")))
    x.shape, x.type = declared
    graph = ir.Graph([image], [x], nodes=network, initializers=list(values.values()), opset_imports={"": 17})
    save(ir.Model(graph, ir_version=8), target)


def growth(repeats: int) -> Table:
    """Return the table of times by number of nodes, each the smallest of several runs."""
    table = Table("nodes", "BNs left", "seconds", "ms a node", title="growth")
    with tempfile.TemporaryDirectory() as folder:
        for nodes in GROWTH:
            source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
            residual_network(nodes, source)
            fastest = min(seconds(by_bnfold, source, target) for _ in range(repeats))
            left = sum(node.op_type == "BatchNormalization" for node in onnx.load(target).graph.node)
            table.add_row(str(nodes), str(left), f"{fastest:.2f}", f"{fastest / nodes * 1e3:.3f}")
    return table


def main() -> None:
    """Print one table a network, or that of growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="which of the light networks; default: all")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each tool; default: 5")
    parser.add_argument("--growth", action="store_true", help="how time grows with the number of nodes, instead")
    arguments = parser.parse_args()
    console = Console()
    if arguments.growth:
        console.print(growth(arguments.repeats))
        return
    for name in arguments.networks:
        console.print(compare(name, arguments.repeats))


if __name__ == "__main__":
    main()
