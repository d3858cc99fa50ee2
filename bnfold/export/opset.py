"""Operator sets: the version of the standard that a graph is written in, chosen after the fact."""

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnxscript.version_converter import ConvertVersionPass

from bnfold.errors import InputError
from bnfold.export.definitions import find_schema
from bnfold.export.lower import LOWEST, lower
from bnfold.export.lower_rules import CannotConvertError

NEWEST = onnx.defs.onnx_opset_version()
"""The newest operator set that the onnx package knows; runtimes follow some months later."""

_ONNXSCRIPT = range(18, 26)
"""Operator sets between which onnxscript converts upwards; elsewhere the onnx package's converter does."""


def convert_opset(model: ir.Model, target: int) -> None:
    """Rewrite ``model`` in place for opset ``target``; the values that it computes stay the same.

    Raises:
        InputError: ``target`` is not one of 13 to `NEWEST`, or a node cannot be said in it.
    """
    if not LOWEST <= target <= NEWEST:
        raise InputError(f"opset {target}: expected {LOWEST} to {NEWEST}.")
    if "" not in model.graph.opset_imports:
        raise InputError(f"opset {target}: the graph has no operator of the standard, whose opset this is.")
    try:
        if target < _opset(model):
            lower(model, target)
        for step in (_ONNXSCRIPT[0], _ONNXSCRIPT[-1], target):
            if _opset(model) < min(step, target):
                _raise_to(model, min(step, target))
    except CannotConvertError as error:
        raise InputError(f"opset {target}: {error}; choose another opset, or keep {_opset(model)}.") from error
    oldest_reader = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", target)])
    model.ir_version = max(model.ir_version, oldest_reader)


def _opset(model: ir.Model) -> int:
    return model.graph.opset_imports[""]


def _raise_to(model: ir.Model, target: int) -> None:
    current = _opset(model)
    if current not in _ONNXSCRIPT or target not in _ONNXSCRIPT:
        _refuse_changed_bodies(model, current, target)
        _refuse_flattening_hardmax(model, current, target)
    ConvertVersionPass(target, fallback=True)(model)
    # The pass reports a failure to its logger only, and leaves the model as it was.
    if _opset(model) != target:
        raise CannotConvertError("onnx has no rule for one of the graph's operators")
    if current < 11 <= target:
        _restore_old_resizes(model)


def _refuse_changed_bodies(model: ir.Model, current: int, target: int) -> None:
    """Refuse what onnx's converter would get wrong: it converts no node in the body of an If, Loop or Scan."""
    for node in _nodes_in_bodies(model):
        if node.domain == "" and _version(node.op_type, current) != _version(node.op_type, target):
            raise CannotConvertError(
                f"{node.op_type} {node.name}: it has changed, and is in a body of If, Loop or Scan"
            )


def _nodes_in_bodies(model: ir.Model) -> Iterator[ir.Node]:
    for graph in model.graph.subgraphs():
        yield from graph


def _version(op_type: str, opset: int) -> int:
    schema = find_schema(op_type, opset)
    return 0 if schema is None else schema.since_version


def _refuse_flattening_hardmax(model: ir.Model, current: int, target: int) -> None:
    """Refuse what onnx's converter would get wrong: before opset 13, Hardmax takes all axes from its axis on."""
    for node in model.graph:
        if current < 13 <= target and node.op_type == "Hardmax" and node.attributes.get_int("axis", 1) != -1:
            raise CannotConvertError(f"Hardmax {node.name}: opset 13 changed its meaning")


def _restore_old_resizes(model: ir.Model) -> None:
    """Repair what onnx's converter gets wrong: before opset 11, coordinates are divided by the scale, rounded down."""
    for node in model.graph:
        if node.op_type == "Resize":
            node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
            node.attributes.add(ir.AttrString("nearest_mode", "floor"))
