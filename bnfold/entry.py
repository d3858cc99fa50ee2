"""One name for what is done to ONNX models and to torch modules; the latter's code is imported for them only."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, overload

from bnfold.errors import InputError, NeitherGraphNorModuleError

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from bnfold.export import Bundle, Precision, Strategy, Target
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
    folder: Path | str,
    inputs: "npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]",
    *,
    strategy: "Strategy | None" = None,
    opset: int | None = None,
    precision: "Precision | None" = None,
    target: "Target | None" = None,
    force: bool = False,
) -> "Bundle":
    """Fold, merge and optimize a model and write it to ``folder`` with golden data: ``bnfold export`` for Python.

    Args:
        model: an ONNX model, or a torch module in inference mode, whose batch will be free. It stays as it is.
        folder: the bundle.
        inputs: golden inputs, ``(N, *sample)``, arrays or tensors: by name; or one, or a tuple, in the order of the
            model's inputs. A module's inputs are named as they are here, or after its arguments.
        strategy: as `bnfold.export.transform`, like the next three.
        opset: operator set to write.
        precision: type of the weights.
        target: `Target.ORT` for operators that ONNX Runtime alone knows; None for a file that every runtime loads.
        force: replace the bundle that is at ``folder``.

    Raises:
        InputError: the module cannot be captured, the inputs do not fit, or the folder is in the way.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    from bnfold.export import Strategy, Target, transform, write_bundle
    from bnfold.verify.signature import Signature

    if isinstance(inputs, Mapping):
        names, values = list(inputs), list(inputs.values())
    else:
        names, values = None, list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    arrays = list(map(_to_numpy, values))
    if _is_graph(model):
        graph = model
    else:
        from bnfold.graph.capture import capture_on

        graph = capture_on(model, arrays, input_names=names)
    expected = [port.name for port in Signature.of(graph).inputs]
    if len(arrays) != len(expected):
        raise InputError(f"inputs: the model takes {len(expected)} ({', '.join(expected)}), found {len(arrays)}.")
    named = dict(zip(names or expected, arrays, strict=True))
    made = transform(
        graph.clone(),
        strategy=strategy or Strategy(),
        opset=opset,
        precision=precision,
        inputs=named,
        target=target or Target.ONNX,
    )
    return write_bundle(
        Path(folder),
        model=made.graph,
        original=graph,
        inputs=named,
        fold_report=made.to_dict(),
        provenance={},
        force=force,
        target=made.target,
    )


def _to_numpy(values: Any) -> "npt.NDArray[Any]":
    import numpy as np

    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _is_graph(model: object) -> "TypeGuard[ir.Model]":
    """Whether it is an ONNX model; what is no torch module either, since torch is not there, is refused."""
    import onnx_ir as ir

    if not isinstance(model, ir.Model) and "torch" not in sys.modules:
        raise NeitherGraphNorModuleError(model)
    return isinstance(model, ir.Model)
