"""Networks in from torch: an ``nn.Module`` in inference mode becomes an ONNX graph that no longer needs torch."""

from collections.abc import Container, Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from torch import Tensor, nn

from bnfold.errors import InputError, NeitherGraphNorModuleError
from bnfold.graph.exported_program import (
    default_input_names,
    default_output_names,
    export_program,
    require_tensor_outputs,
    to_onnx,
)
from bnfold.graph.exporter_metadata import remove_exporter_metadata
from bnfold.graph.module_names import name_after_parts, parameter_names, restore_parameter_names
from bnfold.graph.parametrizations import with_plain_weights
from bnfold.graph.quiet import quiet
from bnfold.graph.simplify import simplify
from bnfold.graph.strides import row_major, row_major_weights

BATCH = "batch"
"""Name of the symbolic extent that the first axis of every input has."""

OPSETS = range(18, 26)
"""Operator sets that torch's exporter writes without loss; `bnfold.export.optimize` converts to others."""


def capture(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = True,
    opset: int = 20,
) -> ir.Model:
    """Return the graph of ``module``; Batch Normalization stays what it is, and weights keep the module's names.

    Parametrized weights are stored as what they are now.

    Args:
        module: in inference mode. It comes back as it was, and the graph's weights are copies.
        example_inputs: one tensor ``(N, *sample)`` an input, in the order of ``module.forward``; neither their
            values nor their strides matter, their shapes and types do.
        input_names: one name an input.
        output_names: one name an output; by default ``output``, the keys of a dict, or ``output_0``, … for a tuple.
        dynamic_batch: let the first axis of every input vary, from 1 up; else it has the example's extent.
        opset: operator set of the graph, one of `OPSETS`.

    Raises:
        InputError: the module (or a part of it) is in training mode, the names or examples do not fit, or torch cannot
            capture it, for which the message gives the reason and the line.
    """
    _require_inference_mode(module)
    module = with_plain_weights(module)
    _require_one_name_each("input", len(example_inputs), input_names)
    example_inputs = tuple(row_major(tensor) for tensor in example_inputs)
    if dynamic_batch:
        _require_one_batch_size(example_inputs, input_names)
        example_inputs = tuple(_tracing_example(tensor) for tensor in example_inputs)
    if opset not in OPSETS:
        raise InputError(f"opset {opset}: torch exports opsets {OPSETS[0]} to {OPSETS[-1]}; convert when exporting.")
    batch = BATCH if dynamic_batch else None
    with quiet(), row_major_weights(module):
        program = export_program(module, example_inputs, batch=batch)
        require_tensor_outputs(program, module)
        outputs = default_output_names(program, taken=input_names) if output_names is None else output_names
        model = to_onnx(program, module, opset=opset, batch=batch)
        _require_one_name_each("output", len(model.graph.outputs), outputs)
        _require_distinct([*input_names, *outputs])
        _tidy(model, module, [*input_names, *outputs])
    return model


def capture_on(
    module: object, examples: Sequence[npt.NDArray[Any]], *, input_names: Sequence[str] | None = None
) -> ir.Model:
    """Return the graph of ``module``, as `capture` does; inputs are named as the arguments of ``forward`` by default.

    Raises:
        InputError: as `capture`; or it is no module.
    """
    if not isinstance(module, nn.Module):
        raise NeitherGraphNorModuleError(module)
    names = default_input_names(module, len(examples)) if input_names is None else input_names
    return capture(module, tuple(map(torch.from_numpy, examples)), input_names=names)


def _require_inference_mode(module: nn.Module) -> None:
    training = next((name for name, part in module.named_modules() if part.training), None)
    if training is not None:
        where = f"{type(module).__name__}, part {training}" if training else type(module).__name__
        raise InputError(f"{where}: expected inference mode, found training mode; call .eval() first.")


def _require_one_name_each(kind: str, count: int, names: Sequence[str]) -> None:
    if len(names) != count:
        raise InputError(f"{kind} names: expected one for each of {count} {kind}s, found {len(names)} {list(names)}.")


def _require_distinct(names: list[str]) -> None:
    repeated = [name for index, name in enumerate(names) if name in names[:index]]
    if repeated:
        raise InputError(f"input and output names: {repeated[0]} is used twice; choose different names.")


def _require_one_batch_size(examples: tuple[Tensor, ...], names: Sequence[str]) -> None:
    sizes = {tensor.shape[0] if tensor.ndim else 0 for tensor in examples}
    if len(sizes) != 1 or 0 in sizes:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in zip(names, examples, strict=True))
        raise InputError(f"example inputs: expected one batch size of 1 or more on the first axis, found {shapes}.")


def _tracing_example(tensor: Tensor) -> Tensor:
    # torch.export takes an extent of 1 for a constant: 2 is the smallest that varies.
    return torch.cat([tensor, tensor]) if tensor.shape[0] == 1 else tensor


def _tidy(model: ir.Model, module: nn.Module, port_names: list[str]) -> None:
    names = parameter_names(module)
    stored = frozenset(names.values())
    restore_parameter_names(model, names)
    simplify(model, keep=stored)
    _drop_invented_biases(model, stored)
    passes.OutputFixPass()(model)
    _copy_stored_outputs(model)
    for port, name in zip([*model.graph.inputs, *model.graph.outputs], port_names, strict=True):
        port.name = name
    parts = {name for name, _ in module.named_modules(remove_duplicate=False)}
    name_after_parts(model, parts=parts, stored=stored)
    passes.RemoveUnusedNodesPass()(model)
    remove_exporter_metadata(model)
    _detach(model)


def _copy_stored_outputs(model: ir.Model) -> None:
    """Put an Identity between an initializer and the output that it is, so that either can have its own name."""
    for index, output in enumerate(model.graph.outputs):
        if output.is_initializer():
            identity = ir.node("Identity", [output])
            identity.outputs[0].type, identity.outputs[0].shape = output.type, output.shape
            model.graph.append(identity)
            model.graph.outputs[index] = identity.outputs[0]


def _drop_invented_biases(model: ir.Model, stored: Container[str]) -> None:
    """Remove the zeros that torch's exporter writes as the bias of a convolution without one."""
    for node in model.graph:
        if node.op_type in {"Conv", "ConvTranspose"} and len(node.inputs) == 3:
            bias = node.inputs[2]
            tensor = None if bias is None or (bias.name or "") in stored else bias.const_value
            if tensor is not None and not tensor.numpy().any():
                node.resize_inputs(2)


def _detach(model: ir.Model) -> None:
    """Copy every initializer out of torch: the graph outlives the module and does not follow its edits."""
    for name, value in model.graph.initializers.items():
        if (tensor := value.const_value) is not None:
            value.const_value = ir.Tensor(tensor.numpy().copy(order="C"), dtype=tensor.dtype, name=name)
