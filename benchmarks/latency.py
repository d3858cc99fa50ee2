"""Latency of what bnfold exports beside what other pipelines make of it; ``python -m benchmarks.latency``.

The networks are the sample models and the ``light_*`` files of the onnx package, both with random numbers for weights
and statistics. Each is written

- as it comes: by torch's default ONNX export, or as the file is;
- by onnxscript, onnxslim, onnxsim and onnxoptimizer from that;
- by bnfold (fold, merge and optimize), from the module or from the file;
- by bnfold once more, with its normalizations deleted beforehand: a network that computes something else, and would be
  reached if normalizations cost nothing at all.

ONNX Runtime runs all of them by turns in one process, its own optimizations on, in an order drawn anew each round. A
ratio is the median over the rounds of bnfold's time over another's in the same round; beside it the ratio of the
fastest rounds. The ratio to bnfold's second session tells what noise alone makes of 1.
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

OURS, CONTROL, DELETED = "bnfold", "bnfold again", "without BN"

ROUNDS = range(30, 3000)
"""As many as fit the time that is given to a setting."""

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
    examples = tuple(to_tensors(inputs, torch.device("cpu")).values())
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


def without_normalizations(graph: ir.Model) -> ir.Model:
    """Return a copy in which every normalization is a wire."""
    graph = graph.clone()
    for node in list(graph.graph):
        if node.op_type == "BatchNormalization":
            (y, *_), x = node.outputs, node.inputs[0]
            assert x is not None
            y.replace_all_uses_with(x, replace_graph_outputs=True)
            graph.graph.remove(node, safe=True)
    return graph


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
    return {**paths, OURS: folder / "bnfold.onnx", DELETED: folder / "deleted.onnx"}


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


def measured(paths: Mapping[str, Path], feeds: Feeds, threads: int, seconds: float) -> dict[str, list[float]]:
    """Return the seconds of every form, a number a round."""
    with pinned(threads), ExitStack() as stack:
        calls: dict[str, Callable[[], object]] = {}
        for name, path in [*paths.items(), (CONTROL, paths[OURS])]:
            session = stack.enter_context(open_session(path, Provider.CPU, optimized=True, threads=threads))
            calls[name] = partial(session.run, feeds)
            calls[name]()
        begin = time.perf_counter()
        for call in calls.values():
            call()
        rounds = int(seconds / (time.perf_counter() - begin))
        return interleaved(calls, rounds=min(max(rounds, ROUNDS[0]), ROUNDS[-1]), warmup=5)


def row(times: Mapping[str, list[float]]) -> list[str]:
    """Return the figures of one setting."""
    ours = times[OURS]
    peers = {name: ratios(ours, other) for name, other in times.items() if name not in {OURS, CONTROL, DELETED}}
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
        f"{ratios(ours, times[CONTROL]).median:.3f}",
    ]


COLUMNS = (
    "network", "threads", "batch", "bnfold ms", "best other", "ratio", "of fastest", "as it comes", "without BN",
    "of fastest", "itself",
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
                    times = measured(paths, network.feeds(batch), threads, arguments.seconds)
                    figures = row(times)
                    worst = max(worst, float(figures[2]))
                    console.print(" | ".join([network.name, str(threads), str(batch), *figures]))
                    table.add_row(network.name, str(threads), str(batch), *figures)
    console.print(table)
    console.print(f"largest ratio to the best other: {worst:.3f}")


if __name__ == "__main__":
    main()
