"""``bnfold inspect``."""

from bnfold_cli.options import Model, Objective, RunsOn, Source
from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold inspect model.onnx",
    "bnfold inspect runs/digits --json",
)


def run(
    out: Output, source: Source, objective: Objective = "latency", provider: RunsOn = "cpu", model: Model = None
) -> None:
    """Show every Batch Normalization, what a fold would make of it, and why.

    Nothing is written.
    """
    from bnfold_cli.rendering import fold as rendering
    from bnfold_cli.work.fold import inspect, remarks

    inspected = inspect(source, objective=objective, provider=provider, model=model)
    out.result(inspected.to_dict(), rendering.inspected(inspected))
    for remark in remarks(objective, provider):
        out.note(remark)
