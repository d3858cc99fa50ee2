"""torch.export and torch's ONNX exporter: the two calls, and their refusals in one line."""

import inspect
import io
import re
import traceback
from collections.abc import Container
from contextlib import redirect_stderr, redirect_stdout
from inspect import Parameter
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import ArgumentSpec, ConstantArgument, OutputKind
from torch.utils import _pytree as pytree

from bnfold.errors import InputError

_TORCH = Path(torch.__file__).parent


def export_program(module: nn.Module, examples: tuple[Tensor, ...], *, batch: str | None) -> ExportedProgram:
    """Trace ``module``; with ``batch`` the first axis of every input is symbolic, and is refused if it cannot be.

    Raises:
        InputError: torch.export gave up, or the module's own code raised.
    """
    shapes = None if batch is None else _by_parameter(module, [{0: Dim(batch)} for _ in examples])
    try:
        # torch prints the graph that it gave up on.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return torch.export.export(module, examples, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export has no base class for its refusals, and the module may raise anything
        raise _refusal(module, error) from error


def require_tensor_outputs(program: ExportedProgram, module: nn.Module) -> None:
    """Check that ``forward`` returns tensors, or None in places, and nothing else.

    Raises:
        InputError: it returns a number or a string.
    """
    other = [value for value in _returned(program) if isinstance(value, ConstantArgument) and value.value is not None]
    if other:
        raise InputError(f"{type(module).__name__}: forward returns {other[0].value!r}, expected tensors only.")


def to_onnx(program: ExportedProgram, module: nn.Module, *, opset: int, batch: str | None) -> ir.Model:
    """Translate a traced program operator by operator; nothing is fused, and the batch axis is called ``batch``.

    Raises:
        InputError: an operator has no counterpart in ONNX.
    """
    try:
        exported = torch.onnx.export(program, (), dynamo=True, optimize=False, verbose=False, opset_version=opset)
    except Exception as error:  # the exporter wraps whatever its translation functions raise
        raise _refusal(module, error) from error
    if exported is None:
        raise AssertionError("torch.onnx.export with dynamo=True returns a program")
    if batch is not None:
        _rename_batch(exported.model, batch)
    return exported.model


def default_output_names(program: ExportedProgram, *, taken: Container[str]) -> list[str]:
    """Name the outputs after where they are in what ``forward`` returns.

    One tensor: ``output``; a dict: its keys; a tuple: ``output_0``, …; nested: joined by dots. None is no output. A
    name that is ``taken`` gets the suffix ``_out``.
    """
    spec = program.call_spec.out_spec
    paths = [] if spec is None else pytree.tree_leaves_with_path(pytree.tree_unflatten(range(spec.num_leaves), spec))
    tensors = [not isinstance(argument, ConstantArgument) for argument in _returned(program)]
    names = [".".join(str(key).strip("[].'\"") for key in path) for path, _ in paths]
    named = [name if name and not name[0].isdigit() else f"output_{name}".rstrip("_") for name in names]
    return [name + "_out" * (name in taken) for name, is_tensor in zip(named, tensors, strict=True) if is_tensor]


def default_input_names(module: nn.Module, count: int) -> list[str]:
    """Return the names of the first ``count`` arguments of ``forward``; those of ``*inputs`` get a number."""
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}_{number}" for number in range(count - len(names))]
        elif parameter.kind in {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}:
            names.append(parameter.name)
    return names[:count]


def _by_parameter(module: nn.Module, shapes: list[dict[int, object]]) -> tuple[object, ...]:
    """Arrange what is given for each input as ``forward`` takes it: ``*inputs`` is one parameter, a tuple."""
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    named = kinds.index(Parameter.VAR_POSITIONAL) if Parameter.VAR_POSITIONAL in kinds else len(shapes)
    return (*shapes[:named], *([tuple(shapes[named:])] if named < len(shapes) else []))


def _returned(program: ExportedProgram) -> list[ArgumentSpec]:
    return [entry.arg for entry in program.graph_signature.output_specs if entry.kind is OutputKind.USER_OUTPUT]


def _rename_batch(model: ir.Model, batch: str) -> None:
    """Replace torch's symbol for the batch (``s77``, also inside expressions such as ``2*s77``) in every shape."""
    shape = model.graph.inputs[0].shape
    if shape is None or isinstance(first := shape[0], int):
        raise AssertionError("torch.export keeps the batch symbolic, or refuses")
    symbol = re.compile(rf"\b{re.escape(str(first.value))}\b")
    values = [*model.graph.inputs, *(output for node in model.graph.all_nodes() for output in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape([_renamed(dim, symbol, batch) for dim in value.shape])


def _renamed(dim: int | ir.SymbolicDim, symbol: re.Pattern[str], name: str) -> int | str | None:
    if isinstance(dim, int) or dim.value is None:
        return dim if isinstance(dim, int) else None
    return symbol.sub(name, str(dim.value))


def _refusal(module: nn.Module, error: Exception) -> InputError:
    return InputError(f"{type(module).__name__}: torch cannot capture it{_place(error)}: {_reason(error)}.")


def _place(error: Exception) -> str:
    """Return the last line of the user's own code that ran."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "forward"]
    own = [frame for frame in frames if _TORCH not in Path(frame.filename).parents]
    return f", at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _reason(error: BaseException) -> str:
    """Return the first line of what went wrong first, and what to do where that is known."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip() or type(error).__name__
    if "Constraints violated" in text or "specialized" in text:
        return "the batch size is a constant inside it; write it so that any batch fits, or capture with a fixed batch"
    line = re.sub(r"\s*\(unhinted.*", "", text.splitlines()[0]).rstrip(" .:")
    if "data-dependent" in line:
        return f"{line}; its control flow depends on its data, which a graph cannot: use torch.where or torch.cond"
    return line
