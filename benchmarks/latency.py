"""Latency of what bnfold exports beside what other pipelines make of it; ``python -m benchmarks.latency``.

The networks are the sample models and the ``light_*`` files of the onnx package, both with random numbers for weights
and statistics. Each is written

- as it comes: by torch's default ONNX export, or as the file is;
- by onnxscript, onnxslim, onnxsim and onnxoptimizer from that;
- by bnfold (fold, merge and optimize), from the module or from the file;
- by bnfold once more, with its normalizations deleted beforehand, and the scales and shifts behind them that a file of
  Caffe's has apart: a network that computes something else, and would be reached if normalizations cost nothing at all;
- by bnfold a third time, deleted likewise but for a bias in each linear operator in front of one, which a network
  without normalizations has there, and which a folded one needs.

ONNX Runtime runs all of them by turns in one process, its own optimizations on, in an order drawn anew each round, and
in sessions that are opened several times, again in an order drawn anew: what is opened last runs faster, by up to 6 %
where a network is large. A ratio is the median over the rounds of bnfold's time over another's in the same round;
beside it the ratio of the fastest rounds. The ratio to bnfold's second session tells what noise alone makes of 1.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from rich.console import Console
from rich.table import Table

from benchmarks.folding import NETWORKS as LIGHT
from benchmarks.folding import by_onnxscript, by_onnxsim, by_onnxslim, randomized
from bnfold.bench.pair import ratios
from bnfold.bench.rounds import interleaved
from bnfold.errors import InputError
from bnfold.export import transform
from bnfold.export.ports import set_shapes
from bnfold.graph import load, save
from bnfold.graph.constants import Constants
from bnfold.graph.readers import only_reader
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import open_session

SAMPLES = (
    "bn-baseline",
    "densenet",
    "detector",
    "digits-cnn",
    "ensemble",
    "graph-convolution",
    "instance-masks",
    "language-model",
    "mnist-sigmoid-bn",
    "mobilenet-v2",
    "point-cloud",
    "repvgg",
    "residual",
    "segmentation",
    "sensor",
)
"""Sample models that differ in their graphs: the paper's variants of Inception share theirs."""

OURS, CONTROL, DELETED, BIASED = "bnfold", "bnfold again", "without BN", "a bias for BN"

ROUNDS = range(4, 500)
"""As many of each opening as fit the time that is given to a setting."""

TAKES_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""Linear operators with an optional bias as third input."""

Feeds = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """One network as a file, and as the graph that bnfold starts from."""

    name: str
    source: Path
    graph: ir.Model
    sample: Feeds
    free_batch: bool = True

    def feeds(self, batch: int) -> Feeds:
        """Return the sample as often as a batch asks for."""
        return {name: np.repeat(array, batch, axis=0) for name, array in self.sample.items()}


def from_torch(name: str, folder: Path) -> Network:
    """Return a sample model with random statistics, captured by bnfold and written by torch's default export."""
    import torch

    from bnfold.data import Split, load_data
    from bnfold.graph.capture import capture
    from bnfold.graph.strides import row_major
    from bnfold.training import resolve_model
    from bnfold.training.forward import to_tensors
    from bnfold_cli.samples import builtin_models

    torch.manual_seed(0)
    source = resolve_model(name, {}, builtin_models())
    assert source.recipe.data is not None
    data = load_data(source.recipe.data, Split.TEST).take(2)
    inputs = {port: array[:2] for port, array in data.inputs.items()}
    module = source.build().eval()
    for key, tensor in module.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif key.endswith("running_mean"):
            tensor.normal_()
        elif key.endswith("bias"):  # starts at 0, which tools leave out
            tensor.normal_(std=0.1)
    examples = tuple(map(row_major, to_tensors(inputs, torch.device("cpu")).values()))
    graph = capture(module, examples, input_names=list(inputs))
    written = folder / "torch.onnx"
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        module,
        examples,
        str(written),
        input_names=list(inputs),
        output_names=[str(output.name) for output in graph.graph.outputs],
        dynamic_shapes=tuple({0: batch} for _ in examples),
        verbose=False,
        external_data=False,
    )
    return Network(name, written, graph, {port: array[:1] for port, array in inputs.items()})


def from_file(name: str, folder: Path) -> Network:
    """Return a network of the onnx package with random weights, and with a free batch where its graph allows one."""
    source = folder / "light.onnx"
    randomized(name, source)
    model = load(source)
    (port,) = model.graph.inputs
    assert port.shape is not None
    extents = [int(str(extent)) for extent in port.shape][1:]
    image = np.random.default_rng(0).normal(size=(1, *extents)).astype(np.float32)
    freed = model.clone()
    try:
        set_shapes(freed, {str(port.name): ("batch", *extents)})
    except InputError:
        return Network(f"light {name}", source, model, {str(port.name): image}, free_batch=False)
    save(freed, source)
    return Network(f"light {name}", source, freed, {str(port.name): image})


def by_onnxoptimizer(source: Path, target: Path) -> None:
    """onnxoptimizer's default passes, after constants are lifted."""
    import onnxoptimizer

    passes = ["extract_constant_to_initializer", *onnxoptimizer.get_fuse_and_elimination_passes()]
    onnx.save(onnxoptimizer.optimize(onnx.load(source), passes), target)


PEERS: Mapping[str, Callable[[Path, Path], None]] = {
    "onnxscript": by_onnxscript,
    "onnxslim": by_onnxslim,
    "onnxsim": by_onnxsim,
    "onnxoptimizer": by_onnxoptimizer,
}


def by_bnfold(graph: ir.Model, target: Path) -> None:
    """What ``bnfold export`` writes."""
    save(transform(graph.clone()).graph, target)


def without_normalizations(graph: ir.Model, *, biased: bool = False) -> ir.Model:
    """Return a copy in which every normalization is a wire, or leaves but a bias to what is in front of it."""
    graph = graph.clone()
    constants = Constants(graph)
    for node in list(graph.graph):
        if node.op_type == "BatchNormalization":
            x = node.inputs[0]
            assert x is not None
            linear = x.producer()
            if biased and linear is not None and linear.op_type in TAKES_BIAS and len(linear.inputs) == 2:
                linear.resize_inputs(3)
                linear.replace_input_with(2, node.inputs[2])
            last, y = node, node.outputs[0]
            while (reader := only_reader(y, graph.graph)) is not None and _is_affine(reader, constants):
                graph.graph.remove(last, safe=False)
                last, y = reader, reader.outputs[0]
            y.replace_all_uses_with(x, replace_graph_outputs=True)
            graph.graph.remove(last, safe=True)
    return graph


def _is_affine(node: ir.Node, constants: Constants) -> bool:
    return node.op_type in {"Mul", "Add"} and any(constants.get(operand) is not None for operand in node.inputs)


def written(network: Network, folder: Path) -> dict[str, Path]:
    """Write all forms of a network; a tool that fails, or is wrong, is said so and left out."""
    paths = {"as it comes": network.source}
    expected = outputs(network.source, network.feeds(2 if network.free_batch else 1))
    for name, by in PEERS.items():
        target = folder / f"{name}.onnx"
        try:
            by(network.source, target)
            found = outputs(target, network.feeds(2 if network.free_batch else 1))
        except Exception as error:
            print(f"{network.name}: {name} failed: {type(error).__name__}", file=sys.stderr)
            continue
        if not all(np.abs(found[key] - y).max() <= 1e-3 * np.abs(y).max() for key, y in expected.items()):
            print(f"{network.name}: {name} is wrong", file=sys.stderr)
            continue
        paths[name] = target
    by_bnfold(network.graph, folder / "bnfold.onnx")
    by_bnfold(without_normalizations(network.graph), folder / "deleted.onnx")
    by_bnfold(without_normalizations(network.graph, biased=True), folder / "biased.onnx")
    own = {OURS: "bnfold.onnx", DELETED: "deleted.onnx", BIASED: "biased.onnx"}
    return {**paths, **{form: folder / name for form, name in own.items()}}


def outputs(path: Path, feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
    """Run a file once."""
    with open_session(path, Provider.CPU, optimized=True) as session:
        return session.run(feeds)


@contextmanager
def pinned(threads: int) -> Generator[None]:
    """Keep this process, and the threads that it starts, on as many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measured(
    paths: Mapping[str, Path], feeds: Feeds, threads: int, *, openings: int, seconds: float
) -> dict[str, list[float]]:
    """Return the seconds of every form, a number a round."""
    forms, rng = {**paths, CONTROL: paths[OURS]}, np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(openings):
        names = [list(forms)[position] for position in rng.permutation(len(forms))]
        found = opened({name: forms[name] for name in names}, feeds, threads, seconds / openings)
        for name, more in found.items():
            times[name] += more
    return times


def opened(paths: Mapping[str, Path], feeds: Feeds, threads: int, seconds: float) -> dict[str, list[float]]:
    """Open the forms in their order and return the seconds of each, a number a round."""
    with pinned(threads), ExitStack() as stack:
        calls: dict[str, Callable[[], object]] = {}
        for name, path in paths.items():
            session = stack.enter_context(open_session(path, Provider.CPU, optimized=True, threads=threads))
            calls[name] = partial(session.run, feeds)
            calls[name]()
        begin = time.perf_counter()
        for call in calls.values():
            call()
        rounds = int(seconds / (time.perf_counter() - begin))
        return interleaved(calls, rounds=min(max(rounds, ROUNDS[0]), ROUNDS[-1]), warmup=2)


def row(times: Mapping[str, list[float]]) -> list[str]:
    """Return the figures of one setting."""
    ours = times[OURS]
    peers = {name: ratios(ours, other) for name, other in times.items() if name not in {OURS, CONTROL, DELETED, BIASED}}
    best = max(peers, key=lambda name: peers[name].median)
    fastest = min(min(times[name]) for name in peers)
    return [
        f"{1e3 * sorted(ours)[len(ours) // 2]:.3f}",
        best,
        f"{peers[best].median:.3f}",
        f"{min(ours) / fastest:.3f}",
        f"{ratios(ours, times['as it comes']).median:.3f}",
        f"{ratios(ours, times[DELETED]).median:.3f}",
        f"{min(ours) / min(times[DELETED]):.3f}",
        f"{ratios(ours, times[BIASED]).median:.3f}",
        f"{ratios(ours, times[CONTROL]).median:.3f}",
    ]


COLUMNS = (
    "network", "threads", "batch", "bnfold ms", "best other", "ratio", "of fastest", "as it comes", "without BN",
    "of fastest", "a bias for BN", "itself",
)  # fmt: skip


def networks(names: Sequence[str], folder: Path) -> Iterator[tuple[Network, dict[str, Path]]]:
    """Yield networks with the files of all their forms."""
    for name in names:
        own = folder / name
        own.mkdir()
        network = from_file(name, own) if name in LIGHT else from_torch(name, own)
        yield network, written(network, own)


def main() -> None:
    """Print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=[*SAMPLES, *LIGHT], help="which; default: all")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each setting; default: 10")
    parser.add_argument("--openings", type=int, default=6, help="of the sessions of each setting; default: 6")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8])
    arguments = parser.parse_args()
    console = Console(width=160)
    console.print(" | ".join(COLUMNS))
    table, worst = Table(*COLUMNS), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for network, paths in networks(arguments.networks, Path(folder)):
            for threads in arguments.threads:
                for batch in arguments.batch if network.free_batch else [1]:
                    feeds, often = network.feeds(batch), arguments.openings
                    times = measured(paths, feeds, threads, openings=often, seconds=arguments.seconds)
                    figures = row(times)
                    worst = max(worst, float(figures[2]))
                    console.print(" | ".join([network.name, str(threads), str(batch), *figures]))
                    table.add_row(network.name, str(threads), str(batch), *figures)
    console.print(table)
    console.print(f"largest ratio to the best other: {worst:.3f}")


if __name__ == "__main__":
    main()
