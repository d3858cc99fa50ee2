"""``bnfold bench``: models, what they are fed, and where the result is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import InputError
from bnfold.files import atomic_file
from bnfold.progress import Progress, silent
from bnfold_cli.work.files import require_distinct, require_file_output, write_json
from bnfold_cli.work.sources import require_numbers
from bnfold_cli.work.verify import bounds, sample_inputs

if TYPE_CHECKING:
    import onnx_ir as ir

    from bnfold.bench import BenchReport, Entry
    from bnfold.verify import Provider


def bench(
    models: Sequence[Path],
    *,
    providers: str = "cpu",
    batch: str | None = None,
    threads: str | None = None,
    rounds: int = 50,
    warmup: int = 5,
    starts: int = 3,
    data: str | None = None,
    ranges: Sequence[str] = (),
    seed: int = 0,
    io_binding: bool = False,
    cuda_graph: bool = False,
    tf32: bool = False,
    report: Path | None = None,
    plot: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> "BenchReport":
    """Measure ``models`` by turns; write the report and the picture if they are asked for.

    Args:
        models: ONNX files; the first is what the others are compared with.
        providers: names of `bnfold.verify.Provider`, separated by commas.
        batch: samples a call, numbers separated by commas.
        threads: as many for one operator, numbers separated by commas; None leaves it to the runtime.
        rounds: that count.
        warmup: rounds before them.
        starts: processes to start each model in.
        data: what the models are fed (the test split); random values by default.
        ranges: inputs to draw uniformly, each as ``NAME=LO:HI``.
        seed: of the random values.
        io_binding: inputs and outputs lie in the provider's memory.
        cuda_graph: the device records a call and plays it again.
        tf32: the device may round to TF32.
        report: where to write the result as JSON.
        plot: where to draw it.
        force: replace what is there.
        progress: told of every round and start.

    Raises:
        InputError: no such file, a model named twice, options that do not fit together or to the graphs.
        MissingDependencyError: ONNX Runtime is not installed, or matplotlib for a picture.
        AttestationError: a provider cannot be loaded here.
    """
    require_distinct(*models, report, plot)
    for output in (report, plot):
        if output is not None:
            require_file_output(output, force=force)
    if data is not None and ranges:
        raise InputError("--range: data are fed as they are; leave out one of --data and --range.")
    widths = (None,) if threads is None else _numbers("--threads", threads)
    from bnfold.bench import Bench, Mode
    from bnfold.bench import bench as measure
    from bnfold.bench.plot import draw, require_plot
    from bnfold.graph import load

    if plot is not None:
        require_plot(plot)
    plan = Bench(
        providers=_providers(providers),
        threads=widths,
        mode=Mode(io_binding, cuda_graph, tf32),
        rounds=rounds,
        warmup=warmup,
        starts=starts,
    )
    graphs = {path: load(path) for path in models}
    sizes = _batch_sizes(graphs, batch)
    entries = [_entry(path, graph, sizes, data, ranges, seed) for path, graph in graphs.items()]
    measured = measure(entries, plan, progress=progress)
    if report is not None:
        write_json(measured.to_dict(), report)
    if plot is not None:
        with atomic_file(plot) as temporary:
            draw(measured, temporary)
    return measured


def _entry(
    path: Path, graph: "ir.Model", sizes: Sequence[int], data: str | None, ranges: Sequence[str], seed: int
) -> "Entry":
    from bnfold.bench import Entry

    require_numbers(graph, path)
    try:
        feeds = [sample_inputs(graph, data=data, samples=size, seed=seed, ranges=bounds(ranges)) for size in sizes]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Entry(str(path), path, tuple(feeds))


def _batch_sizes(graphs: "dict[Path, ir.Model]", given: str | None) -> tuple[int, ...]:
    """Return what ``--batch`` says, or what the graphs fix.

    Raises:
        InputError: a graph fixes another extent.
    """
    from bnfold.verify.signature import Signature

    fixed = {path: extent for path, graph in graphs.items() if (extent := Signature.of(graph).fixed_batch)}
    sizes = (next(iter(fixed.values()), 1),) if given is None else _numbers("--batch", given)
    for path, extent in fixed.items():
        if set(sizes) != {extent}:
            found = ", ".join(map(str, sizes))
            raise InputError(f"{path}: its graph takes batches of {extent} only, asked for {found}; see --batch.")
    return sizes


def _providers(text: str) -> "tuple[Provider, ...]":
    """Read ``cpu,cuda``.

    Raises:
        InputError: there is no such provider.
    """
    from bnfold.verify import Provider

    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in list(Provider)]
    if unknown:
        raise InputError(f"--provider {text}: {unknown[0]!r} is none of {', '.join(Provider)}.")
    return tuple(dict.fromkeys(Provider(name) for name in names))


def _numbers(name: str, text: str) -> tuple[int, ...]:
    """Read ``1,8``: positive numbers, each once.

    Raises:
        InputError: it is not of that form.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise InputError(f"{name} {text}: expected positive numbers separated by commas, for instance 1,8.")
    return tuple(dict.fromkeys(int(part) for part in parts))
