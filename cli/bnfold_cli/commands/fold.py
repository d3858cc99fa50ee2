"""``bnfold fold``."""

from pathlib import Path
from typing import Annotated

from bnfold_cli.options import Force, Model, Objective, Report, RunsOn, Source, option
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold fold model.onnx -o folded.onnx",
    "bnfold fold runs/digits -o digits.onnx --explain",
    "bnfold fold model.onnx -o folded.onnx --objective no-bn --report fold.json",
    "bnfold fold repvgg.onnx -o deployed.onnx --merge",
    "bnfold fold detector.onnx -o folded.onnx --no-duplicate-weights",
)


def run(
    out: Output,
    source: Source,
    output: Annotated[Path, option("--output", "-o", metavar="OUT.onnx", help="The folded model to write.")],
    report: Report = None,
    explain: Annotated[
        bool, option("--explain", help="Show every BatchNormalization with what became of it, and why.")
    ] = False,
    objective: Objective = "latency",
    provider: RunsOn = "cpu",
    merge: Annotated[
        bool,
        option("--merge", help="Also merge linear branches and chains of convolutions that are one convolution."),
    ] = False,
    no_duplicate_weights: Annotated[
        bool,
        option(
            "--no-duplicate-weights",
            help="Let calls that share a weight go on sharing it; a BatchNormalization that needs a copy is kept.",
        ),
    ] = False,
    model: Model = None,
    force: Force = False,
) -> None:
    """Fold Batch Normalization into the weights around it.

    Every BatchNormalization is either removed, or kept with a reason; what is computed stays the same. An ONNX file
    needs no torch.
    """
    from bnfold_cli.rendering import fold as rendering
    from bnfold_cli.work.fold import fold, remarks

    folded = fold(
        source,
        output,
        report=report,
        objective=objective,
        provider=provider,
        merge=merge,
        duplicate_weights=not no_duplicate_weights,
        model=model,
        force=force,
    )
    out.result(folded.to_dict(), rendering.folded(folded.account, explain=explain))
    for remark in remarks(objective, provider):
        out.note(remark)
    out.note(f"wrote {output}")
