"""``RUN|M.onnx``: a graph from an ONNX file, or captured from the network of a run folder."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.bundle import MANIFEST
from bnfold.errors import InputError, MissingDependencyError
from bnfold.files import sha256
from bnfold_cli.samples import builtin_models

if TYPE_CHECKING:
    import onnx_ir as ir

    from bnfold.training import Run

Provenance = dict[str, object]
"""Where a graph comes from, fit for JSON: kind, path, hash, and for a run its record."""


def load_graph(source: Path, *, model: str | None = None) -> "tuple[ir.Model, Provenance]":
    """Return the graph that ``source`` holds, and where it comes from; torch is imported for a run only.

    Args:
        source: an ONNX file or a run folder.
        model: the user's word for a run's model, which allows code to run that has changed since training.

    Raises:
        InputError: neither of the two, broken, with NaN among its weights, or a file with ``model`` given.
        MissingDependencyError: a run folder, and torch is not installed.
    """
    from bnfold.graph import load

    if source.is_dir():
        graph, provenance = _capture(source, model)
    else:
        if model is not None and source.is_file():
            raise InputError(
                f"{source}: --model is for runs; an ONNX file has no code that it could allow. Leave it out."
            )
        graph = load(source)
        provenance: Provenance = {"kind": "onnx", "path": str(source), "sha256": sha256(source)}
    require_numbers(graph, source)
    return graph, provenance


def open_run(folder: Path) -> "Run":
    """Return the run in ``folder``; this imports torch.

    Raises:
        InputError: not a run.
        MissingDependencyError: torch is not installed.
    """
    if folder.is_file():
        raise InputError(f"{folder}: expected a run folder, found a file.")
    require_torch(f"{folder}: a run folder")
    from bnfold.training import Run

    return Run.open(folder)


def require_torch(what: str) -> None:
    """Refuse to go on without torch.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if find_spec("torch") is None:
        raise MissingDependencyError(f"{what} needs torch, which is not installed: pip install 'bnfold[train]'.")


def require_numbers(graph: "ir.Model", source: Path) -> None:
    """Refuse NaN among the weights.

    Raises:
        InputError: names the weight.
    """
    import numpy as np

    from bnfold.graph import float_initializers

    for name, values in float_initializers(graph):
        if np.isnan(values).any():
            raise InputError(f"{source}: weight {name} holds NaN; repair or retrain the model.")


def _capture(folder: Path, model: str | None) -> "tuple[ir.Model, Provenance]":
    if (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: a bundle, already folded; give the run or the ONNX file that it was made from.")
    run = open_run(folder)
    import numpy as np
    import torch

    from bnfold.graph.capture import capture

    inputs: dict[str, dict[str, Any]] = run.record["inputs"]
    examples = tuple(torch.from_numpy(np.zeros((2, *port["shape"]), port["dtype"])) for port in inputs.values())
    network = run.load_model(builtin_models(), model)
    graph = capture(network, examples, input_names=run.input_names)
    return graph, {"kind": "run", "path": str(folder), "run": run.record}
