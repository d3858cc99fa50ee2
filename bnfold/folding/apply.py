"""Carries a plan out: the only place of the folding engine that edits a graph."""

import numpy as np
import onnx_ir as ir

from bnfold.folding.affine import Array
from bnfold.folding.forms import Linear, Pointwise, Threshold
from bnfold.folding.plan import Plan
from bnfold.folding.sharing import stored
from bnfold.folding.solution import Solution
from bnfold.graph.constants import Constants
from bnfold.graph.editor import Editor, graph_of
from bnfold.graph.rounding import rounded

_PART = 2**17
"""Elements that are rewritten at a time: as many float64 as a core's cache holds."""


def apply_plan(model: ir.Model, plan: Plan) -> int:
    """Edit ``model`` as planned; return the bytes that copies of shared weights add.

    1. Linear operators and affine maps that stay read new constants wherever their gauges are not (1, 0). A constant
       that others read too is left alone, and copied.
    2. A padded Conv that a shift reaches gets what its border lacks added behind it; a Relu that a shift reaches
       becomes a maximum with a constant.
    3. Removed maps become wires. An output of the graph keeps its name.
    4. Constants that nothing reads any more are dropped, with the nodes that prepared them.
    """
    editor = _FoldEditor(model)
    for linear in plan.linears:
        _apply_linear(editor, linear, plan.solution)
    for pointwise in plan.kept:
        _apply_pointwise(editor, pointwise, plan.solution)
    for threshold in plan.thresholds:
        _apply_threshold(editor, threshold, plan.solution)
    for pointwise in plan.removed:
        editor.wire(pointwise)
    editor.prune()
    return editor.duplicated_bytes()


def _apply_linear(editor: "_FoldEditor", linear: Linear, solution: Solution) -> None:
    if not linear.silenced and solution.is_identity(linear.sources, linear.targets):
        return
    node, (offset, border) = linear.node, solution.bias(linear)
    editor.store(node, linear.weight_slot, _rounded_kernel(linear, solution))
    if linear.bias is not None and (offset.any() or operand(*linear.bias) is not None):
        editor.rewrite(*linear.bias, linear.stored_offset(offset), linear.dtype)
    elif offset.any():
        editor.add_behind(node, rounded(linear.stored_offset(offset), linear.dtype))
    if "beta" in node.attributes:
        node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    if border is not None:
        editor.add_behind(node, rounded(border, linear.dtype))


def _rounded_kernel(linear: Linear, solution: Solution) -> np.ndarray:
    """Return the weight as it will be, computed a part at a time: in float64 it is never there as a whole."""
    kernel = np.empty_like(linear.weight, order="C")
    count = max(1, _PART // max(1, kernel[:1].size))
    for start in range(0, len(kernel), count):
        part = slice(start, start + count)
        kernel[part] = rounded(solution.kernel(linear, part), linear.dtype)
    return kernel


def _apply_pointwise(editor: "_FoldEditor", pointwise: Pointwise, solution: Solution) -> None:
    if not solution.is_identity(pointwise.sources, pointwise.targets):
        parameters = pointwise.parameters(solution.affine(pointwise))
        for slot, values in zip(pointwise.parameter_slots, parameters, strict=True):
            if values.any() or operand(pointwise.node, slot) is not None:
                editor.rewrite(pointwise.node, slot, values, pointwise.dtype)


def _apply_threshold(editor: "_FoldEditor", threshold: Threshold, solution: Solution) -> None:
    shift = solution.shift[threshold.label]
    if shift.any():
        editor.maximum(threshold.node, solution.scale[threshold.label] * shift, threshold.dtype)


def _at_least(values: Array, shape: tuple[int, ...]) -> Array:
    """Return ``values`` broadcast against ``shape``, without leading axes of extent 1 that ``shape`` does not have."""
    values = values.reshape(values.shape[min(_leading_ones(values.shape), max(values.ndim - len(shape), 0)) :])
    return np.broadcast_to(values, np.broadcast_shapes(values.shape, shape))


def _leading_ones(shape: tuple[int, ...]) -> int:
    """Return how many axes of extent 1 a shape begins with."""
    return next((axis for axis, extent in enumerate(shape) if extent != 1), len(shape))


def operand(node: ir.Node, slot: int) -> ir.Value | None:
    """Return an input, None where an optional one is absent."""
    return node.inputs[slot] if slot < len(node.inputs) else None


def _is_bitwise_equal(value: ir.Value, array: np.ndarray) -> bool:
    """Whether a constant holds exactly this; 0 and −0 differ."""
    assert value.const_value is not None
    stored = value.const_value.numpy()
    return stored.shape == array.shape and stored.tobytes() == array.tobytes()


class _FoldEditor(Editor):
    """Rewrites constants, and knows which versions of one there are."""

    def __init__(self, model: ir.Model) -> None:
        super().__init__(model)
        self.constants = Constants(model)
        self.versions: dict[ir.Value, list[ir.Value]] = {}  # of every stored constant that is rewritten

    def rewrite(self, node: ir.Node, slot: int, values: Array, dtype: ir.DataType) -> None:
        """Let an input read a new constant, in the type that it has or, where it was absent, in ``dtype``."""
        before = self.constants.get(operand(node, slot))
        if before is not None:
            # Never smaller than it was: broadcasting against it may be what gives the result its shape.
            values, dtype = _at_least(values, before.shape), ir.DataType.from_numpy(before.dtype)
        self.store(node, slot, rounded(values, dtype))

    def store(self, node: ir.Node, slot: int, array: np.ndarray) -> None:
        """Let an input read a new constant; calls that agree on it share it, as they shared the old one."""
        old = operand(node, slot)
        if old is None:
            node.resize_inputs(max(slot + 1, len(node.inputs)))
            node.replace_input_with(slot, self.initializer(f"{node.name or node.outputs[0].name}.bias", array))
            return
        versions = self.versions.setdefault(stored(old, self.constants).root, [])
        new = next((version for version in versions if _is_bitwise_equal(version, array)), None)
        if new is None:
            new = self.renewed(old, array, suffix="folded")
            versions.append(new)
        if new is not old:
            node.replace_input_with(slot, new)
            self.abandon([old])

    def duplicated_bytes(self) -> int:
        """Return what several versions of one stored constant take in excess of one; to be called after `prune`."""
        total = 0
        for root, versions in self.versions.items():
            alive = {*versions, root} if root.uses() or root.is_graph_output() else set(versions)
            sizes = [value.const_value.nbytes for value in alive if value.const_value is not None]
            total += sum(sizes) - max(sizes)
        return total

    def maximum(self, node: ir.Node, values: Array, dtype: ir.DataType) -> None:
        """Put a Max with a constant in the place of a rectifier; it keeps the names of the node and of its result."""
        constant = self.initializer(f"{node.name or node.outputs[0].name}.threshold", rounded(values, dtype))
        self.replace(node, ir.Node("", "Max", [node.inputs[0], constant], name=node.name))

    def wire(self, pointwise: Pointwise) -> None:
        """Let all that read a map's result read its input."""
        node = pointwise.node
        x, y = pointwise.input, node.outputs[0]
        self.abandon(value for value in node.inputs if value is not x)
        graph = graph_of(node)
        if y.is_graph_output() and (x.is_graph_input() or x.is_graph_output() or x.graph is not graph):
            x = ir.Value(name=y.name, shape=y.shape, type=y.type)
            identity = ir.Node("", "Identity", [pointwise.input], outputs=[x], name=node.name)
            graph.insert_before(node, identity)
        elif y.is_graph_output():
            x.name, x.shape, x.type = y.name, y.shape, y.type
        y.replace_all_uses_with(x, replace_graph_outputs=True)
        graph.remove(node, safe=True)
