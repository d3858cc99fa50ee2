"""The state of an installation."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import texts

if TYPE_CHECKING:
    from bnfold_cli.work.doctor import Diagnosis

_TRIED = {
    "driver": "CUDA driver",
    "cpu": "ONNX Runtime cpu",
    "cuda": "ONNX Runtime cuda",
    "tensorrt": "ONNX Runtime tensorrt",
}


def diagnosis(result: "Diagnosis") -> Iterator[Table | str]:
    """Yield what is installed, what runs, what to do, and whether bnfold can work here."""
    yield result.python
    yield texts(("distribution", "version"), [(name, found or "-") for name, found in result.distributions.items()])
    rows = [
        (_TRIED.get(trial.name, trial.name), "yes" if trial.works else "no", trial.detail) for trial in result.trials
    ]
    yield texts(("tried", "works", "what it said"), rows)
    for finding in result.findings:
        yield f"! {finding}"
    yield (
        "bnfold can work here." if result.usable else "Nothing can be verified here: no provider of ONNX Runtime runs."
    )
