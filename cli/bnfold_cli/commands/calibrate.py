"""``bnfold calibrate``."""

from pathlib import Path
from typing import Annotated

from bnfold_cli.choices import Estimator
from bnfold_cli.options import Force, Model, RunFolder, Seed, choice, data, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold calibrate runs/digits -o runs/calibrated",
    "bnfold calibrate runs/digits -o runs/paper --estimator algorithm-2",
    "bnfold calibrate runs/cats -o runs/cats2 --data npz:cats.npz --samples 5000",
)


def run(
    out: Output,
    source: RunFolder,
    output: Annotated[Path, option("--output", "-o", metavar="OUT", help="The calibrated run folder to write.")],
    data: Annotated[str | None, data(default="the run's own")] = None,
    estimator: Annotated[
        Estimator, choice("--estimator", Estimator, help="How population statistics are estimated")
    ] = "pooled",
    batch_size: Annotated[int, option("--batch-size", metavar="N", minimum=1, help="Samples a minibatch.")] = 64,
    samples: Annotated[
        int | None, option("--samples", metavar="N", minimum=1, help="How many samples to use; default: all.")
    ] = None,
    seed: Seed = 0,
    include_frozen: Annotated[
        bool, option("--include-frozen", help="Calibrate layers too that training had frozen.")
    ] = False,
    model: Model = None,
    force: Force = False,
) -> None:
    """Compute the mean and variance of every Batch Normalization anew, from data, and write a new run.

    What training tracks is a moving average of its last minibatches; inference needs the statistics of the whole
    population.
    """
    from bnfold_cli.rendering import calibrate as rendering
    from bnfold_cli.work.calibrate import calibrate

    calibrated = calibrate(
        source,
        output,
        data=data,
        estimator=estimator,
        batch_size=batch_size,
        samples=samples,
        seed=seed,
        model=model,
        include_frozen=include_frozen,
        force=force,
        progress=out.progress,
    )
    out.result(calibrated.to_dict(), rendering.calibrated(calibrated))
