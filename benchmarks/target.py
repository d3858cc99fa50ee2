"""Graphs that are fused beforehand beside those fused when they are loaded: ``python -m benchmarks.target``.

Each network is exported twice, with ``--target onnx`` and with ``--target ort``. ONNX Runtime's CPU provider loads
either file, its own optimizations on or off, and runs it on one sample, all by turns. Times are medians over the
rounds, ratios the median over rounds of the fused file's time to the other's in the same round.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.folding import NETWORKS as LIGHT
from benchmarks.latency import Network, from_file, from_torch
from bnfold.bench.pair import ratios
from bnfold.bench.rounds import interleaved
from bnfold.export import Target, transform
from bnfold.folding import count_nodes
from bnfold.graph import save
from bnfold.verify.runtime import open_session

Setting = tuple[Target, bool]
"""Which file, and whether the runtime optimizes it."""

COLUMNS = ("network", "nodes", "optimizations", "load ms", "fused ms", "ratio", "run ms", "fused ms", "ratio")


def measured(paths: Mapping[Target, Path], network: Network, rounds: int) -> tuple[dict[Setting, list[float]], ...]:
    """Return the seconds that loads and runs take, a number a round."""
    settings = list(product(Target, (True, False)))

    def load(setting: Setting) -> None:
        open_session(paths[setting[0]], optimized=setting[1]).close()

    loads = interleaved({each: partial(load, each) for each in settings}, rounds=rounds, warmup=2)
    with ExitStack() as stack:
        calls: dict[Setting, Callable[[], object]] = {}
        for each in settings:
            session = stack.enter_context(open_session(paths[each[0]], optimized=each[1]))
            calls[each] = partial(session.run, network.feeds(1))
        return loads, interleaved(calls, rounds=5 * rounds, warmup=5)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["ensemble", "mobilenet-v2", *LIGHT], help="which")
    parser.add_argument("--rounds", type=int, default=20, help="of loading; five times as many of running; default: 20")
    arguments = parser.parse_args()
    table = Table(*COLUMNS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network in (from_file(n, folder) if n in LIGHT else from_torch(n, folder) for n in arguments.networks):
            paths, nodes = dict[Target, Path](), dict[Target, int]()
            for target in Target:
                made = transform(network.graph.clone(), target=target).graph
                paths[target], nodes[target] = folder / f"{target}.onnx", count_nodes(made).nodes
                save(made, paths[target])
            loads, runs = measured(paths, network, arguments.rounds)
            for optimized in (True, False):
                row = [network.name, " → ".join(map(str, nodes.values())), "on" if optimized else "off"]
                for times in (loads, runs):
                    plain, fused = times[Target.ONNX, optimized], times[Target.ORT, optimized]
                    row += [f"{1e3 * float(np.median(each)):.2f}" for each in (plain, fused)]
                    row.append(f"{ratios(fused, plain).median:.2f}")
                table.add_row(*row)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
