"""Decisions that depend on the device, made by measuring there: whole graphs by turns, and the fastest one stays."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir as ir

from bnfold.bench.pair import Difference, Pair, ratios
from bnfold.bench.rounds import interleaved
from bnfold.bench.spread import Spread
from bnfold.export.transform import Strategy, Transformed
from bnfold.folding import Objective, count_nodes
from bnfold.graph import save
from bnfold.progress import Progress, silent
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import Arrays

ROUNDS = 100
"""Rounds that count, in each of which every graph is called once: a quartile then rests on 25 of them."""

WARMUP = 10

_CONTROL = None
"""Stands for the second session of the graph that the cost models decide on."""


@dataclass(frozen=True)
class Trial:
    """One way to decide, and what its graph takes.

    Attributes:
        strategy: how it was decided.
        nodes: of its graph.
        seconds: a call takes; None if it was not run.
        pair: its time beside that of the graph that the cost models decide on; None for that graph itself.
    """

    strategy: Strategy
    nodes: int
    seconds: Spread | None
    pair: Pair | None

    def to_dict(self) -> dict[str, Any]:
        """Return the trial for JSON; times are in seconds a call."""
        return {
            "strategy": self.strategy.to_dict(),
            "nodes": self.nodes,
            "seconds": None if self.seconds is None else asdict(self.seconds),
            "ratio": None if self.pair is None else asdict(self.pair.ratio),
            "difference": None if self.pair is None else self.pair.difference.value,
        }


@dataclass(frozen=True)
class Tuning:
    """What was measured, and what it decides.

    Attributes:
        provider: where.
        rounds: how often.
        trials: the graphs that differ, the one of the cost models first. It is the only one, and was not run, where no
            decision makes a difference.
    """

    provider: Provider
    rounds: int
    trials: tuple[Trial, ...]

    @property
    def chosen(self) -> Strategy:
        """Return the way that stays: the fastest of those that are faster than the first beyond noise, or the first."""
        first, *others = self.trials
        pairs = [(trial.pair, trial.strategy) for trial in others if trial.pair is not None]
        faster = [(pair.ratio.median, way) for pair, way in pairs if pair.difference is Difference.FASTER]
        return min(faster, key=itemgetter(0))[1] if faster else first.strategy

    def to_dict(self) -> dict[str, Any]:
        """Return the account for JSON."""
        return {
            "provider": self.provider.value,
            "rounds": self.rounds,
            "chosen": self.chosen.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
        }


def strategies(objective: Objective) -> list[Strategy]:
    """Return every way to decide, that of the cost models first; whoever asks for no normalizations gets none."""
    objectives = Objective if objective is Objective.LATENCY else (objective,)
    return [Strategy(*ways) for ways in product(objectives, (True, False), (True, False))]


def tune(
    make: Callable[[Strategy], Transformed],
    inputs: Arrays,
    *,
    objective: Objective = Objective.LATENCY,
    provider: Provider = Provider.CPU,
    rounds: int = ROUNDS,
    progress: Progress = silent,
) -> tuple[Transformed, Tuning]:
    """Decide by measuring: the graphs of all strategies that differ are called by turns, and the fastest one stays.

    Another graph than that of the cost models has to be faster beyond what noise explains, see `bnfold.bench.Pair`.

    Args:
        make: returns the graph of a strategy; it is called once for each, and must not edit what it makes it of.
        inputs: one batch, the size of which the decisions are made for.
        objective: what the folds are for; `Objective.LATENCY` tries both.
        provider: where the graphs run.
        rounds: that count.
        progress: told of every graph and round.

    Raises:
        InputError: a graph cannot be loaded, or does not take the inputs.
        AttestationError: the provider cannot be loaded here.
    """
    made: dict[Strategy, Transformed] = {}
    seen: set[object] = set()
    ways = strategies(objective)
    for strategy in progress(ways, description="graphs", total=len(ways)):
        transformed = make(strategy)
        if (form := _form(transformed.graph)) not in seen:
            seen.add(form)
            made[strategy] = transformed
    seconds = _measured(made, inputs, provider, rounds, progress) if len(made) > 1 else {}
    tuning = Tuning(provider, rounds if seconds else 0, tuple(_trials(made, seconds)))
    return made[tuning.chosen], tuning


def _form(model: ir.Model) -> object:
    """Return what a graph's time depends on: its nodes, and types and extents of what they read; no numbers."""
    return tuple(
        (
            node.domain,
            node.op_type,
            tuple(str(attribute) for attribute in node.attributes.values() if attribute.type not in _LARGE),
            tuple(None if x is None else (x.name, x.dtype, str(x.shape)) for x in node.inputs),
        )
        for node in model.graph.all_nodes()
    )


_LARGE = frozenset({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS, ir.AttributeType.TENSOR})
"""Attributes that nodes are not told apart by: the nodes of a subgraph are looked at themselves."""


def _measured(
    made: dict[Strategy, Transformed], inputs: Arrays, provider: Provider, rounds: int, progress: Progress
) -> dict[Strategy | None, list[float]]:
    with TemporaryDirectory(prefix="bnfold-") as folder, ExitStack() as stack:
        calls: dict[Strategy | None, Callable[[], object]] = {}
        for number, (strategy, transformed) in enumerate(made.items()):
            path = Path(folder) / f"{number}.onnx"
            save(transformed.graph, path)
            for key in (strategy, _CONTROL) if number == 0 else (strategy,):
                session = stack.enter_context(open_session(path, provider, optimized=True))
                calls[key] = partial(session.run, inputs)
        return interleaved(calls, rounds=rounds, warmup=WARMUP, progress=progress, description="rounds")


def _trials(made: dict[Strategy, Transformed], seconds: dict[Strategy | None, list[float]]) -> Iterator[Trial]:
    nodes = {strategy: count_nodes(transformed.graph).nodes for strategy, transformed in made.items()}
    first, *others = made
    yield Trial(first, nodes[first], Spread.of(seconds[first]) if seconds else None, None)
    control = ratios(seconds[_CONTROL], seconds[first]) if seconds else None
    for strategy in others:
        assert control is not None
        pair = Pair(str(strategy), str(first), ratios(seconds[strategy], seconds[first]), control)
        yield Trial(strategy, nodes[strategy], Spread.of(seconds[strategy]), pair)
