"""The graph that a server loads: everything known before it runs is computed, everything said twice is said once."""

import warnings

import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnxscript.rewriter import RewriteRuleSet
from onnxscript.rewriter.rules.common import no_op_transpose_rule, reshape_reshape_rule, transpose_transpose_rule

from bnfold.export.check import check, objection
from bnfold.export.gelus import use_gelus
from bnfold.export.opset import convert_opset
from bnfold.export.rows import use_gemms
from bnfold.graph.computed_weights import store_computed_weights
from bnfold.graph.concats import join_concats
from bnfold.graph.exporter_metadata import remove_exporter_metadata
from bnfold.graph.extents import name_extents
from bnfold.graph.quiet import quiet
from bnfold.graph.reshapes import sink_reshapes, skip_reshapes
from bnfold.graph.sequences import has_sequences
from bnfold.graph.signature import kept_signature
from bnfold.graph.simplify import simplify

SHARED_INITIALIZER_LIMIT = 2**16
"""Elements up to which equal initializers become one; comparing larger ones would hold every weight twice."""

_RANDOM = frozenset({"Bernoulli", "Dropout"})
"""Random operators that the pass for common subexpressions takes for functions; Dropout is one if it is still there."""


_MOVES = RewriteRuleSet([no_op_transpose_rule, transpose_transpose_rule, reshape_reshape_rule])
"""Two transpositions in a row, or two reshapes, are one, or none."""


def optimize(model: ir.Model, *, opset: int | None = None) -> None:
    """Simplify ``model`` in place, in the operator set ``opset`` if it is given.

    Constants and shape arithmetic are folded (exactly, and never at the price of a much larger file, see
    `bnfold.graph.constant_folding`), identities, inference dropouts, transpositions and reshapes that cancel skipped,
    concatenations in a row joined, linear layers of (N, L, C) written as Gemm, Gelus as runtimes fuse them, equal nodes
    and small equal initializers shared, what is unused removed. Extents are named after those of the inputs. Inputs and
    outputs keep names, types, order and symbolic shapes; every value stays the same, except where a Gemm, a Gelu or an
    operator of another ``opset`` rounds elsewhere, and for weights that the graph computes from others (weight norm),
    which are stored as what they are in float64.

    A graph that a pass cannot handle, or that the checker accepts before and refuses after, stays as it was, with a
    warning.

    Raises:
        InputError: the model is not a valid one, or cannot be said in ``opset``.
    """
    with quiet():
        _prepare(model)
        check(model, what="not a valid ONNX model", strict=False)
        reason = _simplify_checked(model)
        if opset is not None:
            _convert_checked(model, opset)
            reason = reason or _simplify_checked(model)
        remove_exporter_metadata(model)
    if reason is not None:
        warnings.warn(f"the graph stays as it was, since optimizing it failed: {reason}", stacklevel=2)


def _simplify_checked(model: ir.Model) -> str | None:
    """Simplify ``model``, or leave it as it was and return the reason."""
    before, strict = model.clone().graph, objection(model, strict=True) is None
    try:
        with kept_signature(model):
            _reduce(model)
            store_computed_weights(model)
            if use_gemms(model):
                _reduce(model)
            use_gelus(model)
            _share(model)
        reason = objection(model, strict=strict)
    except RuntimeError as error:  # what onnxscript's constant folding raises, whatever went wrong in it
        reason = str(error)
    if reason is not None:
        model.graph = before
    return reason


def _reduce(model: ir.Model) -> None:
    """Leave out what moves data to and fro, and compute what is known."""
    _infer_shapes_anew(model)
    sink_reshapes(model)
    _MOVES.apply_to_model(model)
    skip_reshapes(model)  # leaves identities, as the rules do: `simplify` skips them
    join_concats(model)
    simplify(model)


def _convert_checked(model: ir.Model, opset: int) -> None:
    current, strict = model.graph.opset_imports.get(""), objection(model, strict=True) is None
    with kept_signature(model):
        _infer_shapes_anew(model)
        convert_opset(model, opset)
    check(model, what=f"opset {opset}: the graph cannot be converted from opset {current}", strict=strict)


def _prepare(model: ir.Model) -> None:
    """Bring old and modular files to the form that the passes know: no functions, constants that are constant."""
    if model.functions:
        passes.InlinePass()(model)
    if model.ir_version < 4:
        # There, inputs merely declare initializers. As inputs they would be taken for what a caller may change.
        passes.RemoveInitializersFromInputsPass()(model)
        model.ir_version = 4
    passes.TopologicalSortPass()(model)


def _infer_shapes_anew(model: ir.Model) -> None:
    """Forget the shapes that the file declares for what standard operators compute, and infer them from the inputs.

    A declaration is only a comment to a runtime; a wrong one (a batch of 1, left over from an export whose input was
    made dynamic later) would be folded into the graph as a constant.
    """
    for node in model.graph.all_nodes():
        if node.domain == "":
            for output in node.outputs:
                output.shape = None
    if not has_sequences(model):  # the pass would take them for tensors
        passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
        name_extents(model)


def _share(model: ir.Model) -> None:
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.DeduplicateInitializersPass(SHARED_INITIALIZER_LIMIT)(model)
    if not any(node.op_type in _RANDOM for node in model.graph.all_nodes()):
        # Outputs that a node leaves out get a name: the pass would take them for values that are there.
        passes.NameFixPass()(model)
        passes.CommonSubexpressionEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
