"""``bnfold export``."""

from pathlib import Path
from typing import Annotated

from bnfold_cli.options import Force, Model, Objective, Seed, Source, data, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold export runs/calibrated -o bundle",
    "bnfold export model.onnx -o bundle --opset 17 --samples 32",
    "bnfold export model.onnx -o bundle --data npz:cats.npz --force",
)


def run(
    out: Output,
    source: Source,
    output: Annotated[Path, option("--output", "-o", metavar="BUNDLE", help="The bundle folder to write.")],
    opset: Annotated[
        int | None, option("--opset", metavar="N", help="Operator set to write; default: the source's own.")
    ] = None,
    data: Annotated[str | None, data(default="the run's own, random values for an ONNX file")] = None,
    samples: Annotated[
        int | None, option("--samples", metavar="N", minimum=1, help="How many golden samples; default: 64.")
    ] = None,
    seed: Seed = 0,
    objective: Objective = "latency",
    model: Model = None,
    force: Force = False,
) -> None:
    """Fold, optimize and bundle a model with golden data to verify it by.

    The bundle holds the model, inputs with the outputs of the original in float64 and float32, the fold report, and a
    manifest with the hash of every file.
    """
    from bnfold_cli.rendering import export as rendering
    from bnfold_cli.work.export import export

    exported = export(
        source,
        output,
        opset=opset,
        data=data,
        samples=samples,
        seed=seed,
        objective=objective,
        model=model,
        force=force,
    )
    out.result(exported.to_dict(), rendering.exported(exported))
