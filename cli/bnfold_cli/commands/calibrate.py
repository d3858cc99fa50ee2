"""``bnfold calibrate``."""

from functools import partial
from pathlib import Path
from typing import Annotated

from bnfold.errors import InputError
from bnfold_cli.choices import Device, Estimator, Provider
from bnfold_cli.options import Force, Model, Report, Seed, Source, choice, data, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold calibrate runs/digits -o runs/calibrated",
    "bnfold calibrate runs/digits -o runs/paper --estimator algorithm-2",
    "bnfold calibrate runs/cats -o runs/cats2 --data npz:cats.npz --until-relative-error 0.05",
    "bnfold calibrate model.onnx --data npz:cats.npz -o calibrated.onnx --report statistics.json",
    "bnfold calibrate runs/calibrated --undo",
)


def run(
    out: Output,
    source: Source,
    output: Annotated[
        Path | None, option("--output", "-o", metavar="OUT", help="The calibrated run folder or ONNX file to write.")
    ] = None,
    data: Annotated[str | None, data(default="the run's own; an ONNX file has none")] = None,
    estimator: Annotated[
        Estimator, choice("--estimator", Estimator, help="How population statistics are estimated")
    ] = "self-consistent",
    batch_size: Annotated[int, option("--batch-size", metavar="N", minimum=1, help="Samples a minibatch.")] = 64,
    samples: Annotated[
        int | None, option("--samples", metavar="N", minimum=1, help="How many samples to use; default: all.")
    ] = None,
    until_relative_error: Annotated[
        float | None,
        option(
            "--until-relative-error",
            metavar="X",
            minimum=0,
            help="Use no more samples than it takes until, in every channel, the standard errors of mean and variance "
            "are at most X, relative to √(variance + ε) and to variance + ε.",
        ),
    ] = None,
    memory_budget: Annotated[
        int | None,
        option(
            "--memory-budget",
            metavar="MIB",
            minimum=0,
            help="Memory for what batches leave between two layers, in MiB; what is beyond it waits on disk. "
            "Default: 2048.",
        ),
    ] = None,
    provider: Annotated[
        Provider | None, choice("--provider", Provider, help="Where an ONNX file runs; default cpu")
    ] = None,
    device: Annotated[
        Device, choice("--device", Device, help="Where a run is calibrated; auto takes CUDA if there is one")
    ] = "auto",
    seed: Seed = 0,
    include_frozen: Annotated[
        bool, option("--include-frozen", help="Calibrate layers too that training had frozen.")
    ] = False,
    undo: Annotated[
        bool,
        option("--undo", help="Put the statistics back that a calibrated run had before, in place or into --output."),
    ] = False,
    model: Model = None,
    report: Report = None,
    force: Force = False,
) -> None:
    """Compute the mean and variance of every Batch Normalization anew, from data, and write a new run or file.

    What training tracks is a moving average of its last minibatches; inference needs the statistics of the whole
    population. The default estimator finds those that inference sees, with the layers below normalized by their own.
    With --report, histograms of both are drawn beside the JSON file. Started by torchrun (torchrun --nproc-per-node 2
    -m bnfold_cli calibrate), several processes share the samples of a run.
    """
    from bnfold_cli.rendering import calibrate as rendering
    from bnfold_cli.work.calibrate import Settings, calibrate
    from bnfold_cli.work.speaking import is_one_of_several, speaking_for_all

    if undo:
        from bnfold_cli.work.undo import undo as undo_calibration

        undone = undo_calibration(source, output, force=force)
        out.result(undone.to_dict(), rendering.undone(undone))
        return
    if output is None:
        raise InputError("--output: say what to write, or --undo a calibration.")
    work = partial(
        calibrate,
        source,
        output,
        data=data,
        settings=Settings(estimator, batch_size, samples, seed, until_relative_error, memory_budget, device),
        provider=provider,
        model=model,
        include_frozen=include_frozen,
        report=report,
        force=force,
        progress=out.progress,
    )
    calibrated = speaking_for_all(work, out.note) if is_one_of_several() else work()
    if calibrated is not None:
        out.result(calibrated.to_dict(), rendering.calibrated(calibrated))
