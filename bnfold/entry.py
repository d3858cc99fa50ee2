"""One name for what is done to ONNX models and to torch modules; the latter's code is imported for them only."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, overload

from bnfold.errors import NeitherGraphNorModuleError

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from bnfold.export import Bundle, Precision, Strategy
    from bnfold.folding import FoldReport, Objective, Outcome
    from bnfold.modules import ExampleInputs, ModuleT


@overload
def fold(model: "ir.Model", objective: "Objective" = ..., *, duplicate_weights: bool = ...) -> "FoldReport": ...
@overload
def fold(model: "ModuleT", example_inputs: "ExampleInputs", *, dynamic_batch: bool = ...) -> "ModuleT": ...
def fold(model: object, *arguments: object, **options: object) -> object:
    """Fold every Batch Normalization that can be folded exactly.

    An ONNX model is edited in place, and the report returned: `bnfold.folding.fold`. A torch module stays as it is, and
    a folded copy of its class is returned: `bnfold.modules.fold_module`, which returns the report too.

    Raises:
        InputError: as those; or ``model`` is neither.
    """
    if _is_graph(model):
        from bnfold import folding

        return folding.fold(model, *arguments, **options)  # pyright: ignore[reportArgumentType]  # as overloaded
    from bnfold import modules

    return modules.fold_module(model, *arguments, **options)[0]  # pyright: ignore[reportArgumentType]  # as overloaded


@overload
def inspect(model: "ir.Model", objective: "Objective" = ...) -> "tuple[Outcome, ...]": ...
@overload
def inspect(model: object, example_inputs: "ExampleInputs", *, dynamic_batch: bool = ...) -> "tuple[Outcome, ...]": ...
def inspect(model: object, *arguments: object, **options: object) -> object:
    """Return what `fold` would do to each Batch Normalization; nothing is changed.

    Raises:
        InputError: as `fold`.
    """
    if _is_graph(model):
        from bnfold import folding

        return folding.inspect(model, *arguments, **options)  # pyright: ignore[reportArgumentType]  # as overloaded
    from bnfold import modules

    return modules.inspect_module(model, *arguments, **options)  # pyright: ignore[reportArgumentType]  # as overloaded


def export_bundle(
    model: object,
    folder: Path,
    inputs: "Mapping[str, npt.ArrayLike]",
    *,
    strategy: "Strategy | None" = None,
    opset: int | None = None,
    precision: "Precision | None" = None,
    force: bool = False,
) -> "Bundle":
    """Fold, merge and optimize a model and write it to ``folder`` with golden data: ``bnfold export`` for Python.

    Args:
        model: an ONNX model, or a torch module in inference mode, whose batch will be free. It stays as it is.
        folder: the bundle.
        inputs: golden inputs by name, ``(N, *sample)``; for a module one for each argument, in their order.
        strategy: as `bnfold.export.transform`, like the next two.
        opset: operator set to write.
        precision: type of the weights.
        force: replace the bundle that is at ``folder``.

    Raises:
        InputError: the module cannot be captured, the inputs do not fit, or the folder is in the way.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    import numpy as np

    from bnfold.export import Strategy, transform, write_bundle

    arrays = {name: np.asarray(values) for name, values in inputs.items()}
    if _is_graph(model):
        graph = model
    else:
        from bnfold.graph.capture import capture_on

        graph = capture_on(model, arrays)
    made = transform(graph.clone(), strategy=strategy or Strategy(), opset=opset, precision=precision, inputs=arrays)
    return write_bundle(
        folder,
        model=made.graph,
        original=graph,
        inputs=arrays,
        fold_report=made.to_dict(),
        provenance={},
        force=force,
    )


def _is_graph(model: object) -> "TypeGuard[ir.Model]":
    """Whether it is an ONNX model; what is no torch module either, since torch is not there, is refused."""
    import onnx_ir as ir

    if not isinstance(model, ir.Model) and "torch" not in sys.modules:
        raise NeitherGraphNorModuleError(model)
    return isinstance(model, ir.Model)
