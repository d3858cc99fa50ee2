"""``bnfold doctor``."""

import typer

from bnfold_cli.output import Output

EXAMPLES = (
    "bnfold doctor",
    "bnfold doctor --json",
)


def run(out: Output) -> None:
    """Tell what is installed, what clashes, and which providers really run.

    Each is tried in a process of its own. Ends with 3 if no provider of ONNX Runtime runs.
    """
    from bnfold_cli.rendering import doctor as rendering
    from bnfold_cli.work import doctor

    diagnosis = doctor.examine(out.progress)
    out.result(diagnosis.to_dict(), rendering.diagnosis(diagnosis))
    raise typer.Exit(diagnosis.exit_code)
