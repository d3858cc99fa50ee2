"""Several models on several providers, threads and batches, by turns in one process."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, product
from pathlib import Path

from bnfold.bench.latency import batch_size
from bnfold.bench.operators import profiled
from bnfold.bench.pair import Pair, ratios
from bnfold.bench.report import BenchReport, Measurement, Profile, Startup
from bnfold.bench.rounds import interleaved, require_rounds
from bnfold.bench.setting import Mode, Setting
from bnfold.bench.spread import Spread
from bnfold.bench.startup import start
from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold.verify.environment import environment
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import Arrays

CONTROL = ""
"""Stands for the first model's second session; no model has an empty name."""

Key = tuple[Setting, str]


@dataclass(frozen=True)
class Entry:
    """One model of a bench: its name, its file, and what it is fed: a dict of arrays for every batch size."""

    name: str
    path: Path
    feeds: tuple[Arrays, ...]


@dataclass(frozen=True)
class Bench:
    """What is varied and how often.

    Attributes:
        providers: where every model runs.
        threads: that one operator's work is divided among; None leaves their number to the runtime.
        mode: how the runtime is called.
        rounds: that count; in each every model is called once in every setting.
        warmup: rounds before them.
        starts: processes that each model is started in, on each provider.
    """

    providers: tuple[Provider, ...] = (Provider.CPU,)
    threads: tuple[int | None, ...] = (None,)
    mode: Mode = field(default_factory=Mode)
    rounds: int = 50
    warmup: int = 5
    starts: int = 3

    def __post_init__(self) -> None:
        """Refuse what no provider could do.

        Raises:
            InputError: a CUDA graph without a CUDA device or without bound inputs and outputs.
        """
        if self.mode.cuda_graph and (not self.mode.io_binding or Provider.CPU in self.providers):
            raise InputError("CUDA graphs: need bound inputs and outputs, and providers that are not the CPU.")


def bench(entries: Sequence[Entry], plan: Bench | None = None, *, progress: Progress = silent) -> BenchReport:
    """Measure every model in every setting; the settings are the providers times the threads times the batches.

    Each model has a session of its own for every setting, with the runtime's optimizations on. All calls of a round are
    made one after another, in an order drawn anew. The first model has a second session, whose time over the first's
    tells how far a model differs from itself on this machine, now.

    Starts and times by operator are measured at the first number of threads and the first batch.

    Raises:
        InputError: no model, two of one name, a model that cannot be loaded or does not take its inputs.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: a provider cannot be loaded here.
    """
    plan = plan or Bench()
    if len({entry.name for entry in entries}) < max(1, len(entries)):
        raise InputError("bench: expected models, each of another name.")
    require_rounds(plan.rounds, plan.warmup, models=len(entries))
    measured = _measured(entries, plan, progress)
    firsts = [Setting(provider, plan.threads[0], batch_size(entries[0].feeds[0])) for provider in plan.providers]
    startups = _startups(entries, firsts, plan, progress)
    profiles = [
        Profile(entry.name, setting, profiled(entry.path, entry.feeds[0], setting, plan.mode))
        for setting, entry in product(firsts, entries)
    ]
    return BenchReport(
        models={entry.name: entry.path for entry in entries},
        mode=plan.mode,
        rounds=plan.rounds,
        warmup=plan.warmup,
        measurements=tuple(
            _measurement(setting, [entry.name for entry in entries], measured)
            for setting in dict.fromkeys(setting for setting, _ in measured)
        ),
        startups=startups,
        profiles=tuple(profiles),
        environment=environment({}),
    )


def _measured(entries: Sequence[Entry], plan: Bench, progress: Progress) -> dict[Key, list[float]]:
    calls: dict[Key, Callable[[], object]] = {}
    with ExitStack() as stack:
        for provider, threads, position in product(plan.providers, plan.threads, range(len(entries[0].feeds))):
            setting = Setting(provider, threads, batch_size(entries[0].feeds[position]))
            named = [(entry.name, entry) for entry in entries] + [(CONTROL, entries[0])]
            for name, entry in named:
                calls[setting, name] = _call(stack, entry.path, entry.feeds[position], setting, plan.mode)
        return interleaved(calls, rounds=plan.rounds, warmup=plan.warmup, progress=progress, description="rounds")


def _call(stack: ExitStack, path: Path, inputs: Arrays, setting: Setting, mode: Mode) -> Callable[[], object]:
    opened = partial(open_session, path, setting.provider, optimized=True, tf32=mode.tf32, threads=setting.threads)
    if not mode.io_binding:
        return partial(stack.enter_context(opened()).run, inputs)
    with opened() as plain:  # a session that records a CUDA graph must not be called in another way first
        outputs = plain.run(inputs)
    return stack.enter_context(opened(cuda_graph=mode.cuda_graph)).bound(inputs, outputs)


def _measurement(setting: Setting, names: Sequence[str], measured: Mapping[Key, list[float]]) -> Measurement:
    first = measured[setting, names[0]]
    control = ratios(measured[setting, CONTROL], first)
    pairs = [
        Pair(name, over, ratios(measured[setting, name], measured[setting, over]), control)
        for over, name in combinations(names, 2)
    ]
    return Measurement(setting, {name: Spread.of(measured[setting, name]) for name in names}, control, tuple(pairs))


def _startups(
    entries: Sequence[Entry], settings: Sequence[Setting], plan: Bench, progress: Progress
) -> tuple[Startup, ...]:
    cases = list(product(settings, entries))
    turns = [case for _ in range(plan.starts) for case in cases]
    starts = [
        start(entry.path, entry.feeds[0], setting, plan.mode)
        for setting, entry in progress(turns, description="starts", total=len(turns))
    ]
    found: list[Startup] = []
    for position, (setting, entry) in enumerate(cases if starts else ()):
        own = starts[position :: len(cases)]
        memory = [each.memory for each in own if each.memory is not None]
        found.append(
            Startup(
                entry.name,
                setting.provider,
                Spread.of([each.load for each in own]),
                Spread.of([each.first_call for each in own]),
                Spread.of(memory) if memory else None,
            )
        )
    return tuple(found)
