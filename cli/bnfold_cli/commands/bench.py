"""``bnfold bench``."""

from pathlib import Path
from typing import Annotated, get_args

from bnfold_cli.choices import Provider
from bnfold_cli.options import Force, Ranges, Report, Seed, argument, data, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold bench model.onnx folded.onnx",
    "bnfold bench a.onnx b.onnx c.onnx --batch 1,8 --threads 1,2 --rounds 200",
    "bnfold bench a.onnx b.onnx --provider cpu,cuda --io-binding",
    "bnfold bench a.onnx b.onnx --report bench.json --plot bench.png",
)

CUDA = "On a device"
"""Help panel of the options that say how a device is called."""


def _providers(incomplete: str) -> list[str]:
    """Complete the last name of a list."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in get_args(Provider) if name.startswith(last)]


def run(
    out: Output,
    models: Annotated[
        list[Path], argument(metavar="A.onnx B.onnx", help="The models; ratios are to the first one's time.")
    ],
    provider: Annotated[
        str,
        option(
            "--provider",
            metavar="NAME,NAME",
            complete=_providers,
            help=f"Where the models run: {', '.join(get_args(Provider))}.",
        ),
    ] = "cpu",
    batch: Annotated[
        str | None,
        option("--batch", metavar="N,N", help="Samples a call; default: 1, or the extent that the first graph fixes."),
    ] = None,
    threads: Annotated[
        str | None,
        option(
            "--threads",
            metavar="N,N",
            help="Threads that one operator's work is divided among; default: the runtime's.",
        ),
    ] = None,
    rounds: Annotated[
        int, option("--rounds", metavar="N", minimum=1, help="Rounds; in each every model is called once.")
    ] = 50,
    warmup: Annotated[
        int, option("--warmup", metavar="N", minimum=0, help="Rounds before them that do not count.")
    ] = 5,
    starts: Annotated[
        int,
        option(
            "--starts",
            metavar="N",
            minimum=0,
            help="Processes of its own that each model is started in, for load time and memory; 0: none.",
        ),
    ] = 3,
    data: Annotated[str | None, data(default="random values")] = None,
    ranges: Ranges = None,
    seed: Seed = 0,
    report: Report = None,
    plot: Annotated[
        Path | None,
        option("--plot", metavar="FILE", help="Also draw the result: .png, .svg or .pdf; needs matplotlib."),
    ] = None,
    force: Force = False,
    io_binding: Annotated[
        bool,
        option(
            "--io-binding",
            panel=CUDA,
            help="Inputs and outputs stay in the provider's memory: copies are not part of the time.",
        ),
    ] = False,
    cuda_graph: Annotated[
        bool,
        option("--cuda-graph", panel=CUDA, help="The device records a call and plays it again; needs --io-binding."),
    ] = False,
    tf32: Annotated[
        bool, option("--tf32", panel=CUDA, help="Let the device round operands of matrix products to 10 bits.")
    ] = False,
) -> None:
    """Measure models side by side: latency, throughput, time by operator, load time and memory.

    All models are called by turns in one process. Where the machine is too noisy to say which of two is faster, a note
    says so: the rounds contradict each other, or the first model differs as much from itself.
    """
    from bnfold_cli.rendering import bench as rendering
    from bnfold_cli.work.bench import bench

    measured = bench(
        models,
        providers=provider,
        batch=batch,
        threads=threads,
        rounds=rounds,
        warmup=warmup,
        starts=starts,
        data=data,
        ranges=ranges or (),
        seed=seed,
        io_binding=io_binding,
        cuda_graph=cuda_graph,
        tf32=tf32,
        report=report,
        plot=plot,
        force=force,
        progress=out.progress,
    )
    out.result(measured.to_dict(), rendering.measured(measured))
