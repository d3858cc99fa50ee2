"""What a rule sees of the graph: one node, its operands, and the statements that it can make about their gauges."""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from bnfold.errors import InputError
from bnfold.folding import labels
from bnfold.folding.affine import Array
from bnfold.folding.forms import Linear, Pointwise, Threshold
from bnfold.folding.gauges import IDENTITY, Ids
from bnfold.folding.journal import distinct, is_ascending
from bnfold.folding.network import Network, Opaque
from bnfold.folding.report import Reason
from bnfold.graph.shapes import Dims


class Site:
    """One node of a `Network`, as its rule sees it.

    Statements name the node as their cause. Inputs and outputs are counted as the operator's specification counts them.
    """

    def __init__(self, network: Network, index: int) -> None:
        self.network = network
        self.gauges = network.gauges
        self.index = index
        self._labelled: set[int] = set()
        self.node = network.facts.nodes[index]

    @property
    def name(self) -> str:
        """What messages call the node: its operator and its name, or its output's name where it has none."""
        return f"{self.node.op_type} {self.node.name or self.node.outputs[0].name}"

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        return self.network.facts.opset

    @property
    def at_a_price(self) -> bool:
        """Whether the node may take the form that carries more, at a cost at run time."""
        return self.node in self.network.priced

    # Operands

    def has(self, slot: int) -> bool:
        """Whether the optional input is there."""
        return slot < len(self.node.inputs) and self.node.inputs[slot] is not None

    def value(self, slot: int) -> ir.Value:
        """Return the value of an input that the operator requires."""
        value = self.node.inputs[slot] if slot < len(self.node.inputs) else None
        if value is None:
            raise Opaque(Reason.UNSUPPORTED, f"{self.node.op_type} lacks input {slot}")
        return value

    def constant(self, slot: int) -> np.ndarray | None:
        """Return an input's content where it is constant, in its own type."""
        return self.network.facts.constants.get(self.value(slot)) if self.has(slot) else None

    def parameter(self, slot: int) -> Array:
        """Return a constant input in float64; raise as `weight` does."""
        return self.weight(slot).astype(np.float64)

    def weight(self, slot: int) -> np.ndarray:
        """Return a constant input in its own type.

        Raises:
            Opaque: it is computed at run time, or a caller can override it.
            InputError: it holds NaN or infinity.
        """
        array, value = self.constant(slot), self.value(slot)
        if array is None and value.is_initializer():
            words = "is stored, but an input of the graph as well, so that a caller may override it"
            raise Opaque(Reason.NOT_CONSTANT, f"{value.name} {words}")
        if array is None:
            raise Opaque(Reason.NOT_CONSTANT, f"{value.name} is not a constant")
        if not ir.DataType.from_numpy(array.dtype).is_floating_point():
            raise Opaque(Reason.UNSUPPORTED, f"{value.name} holds integers")
        if not np.isfinite(array).all():
            raise InputError(
                f"{self.name}: its parameter {value.name} holds NaN or infinity; repair or retrain the model."
            )
        return array

    def dtype(self, slot: int) -> ir.DataType:
        """Return the type of a constant input."""
        return ir.DataType.from_numpy(self.weight(slot).dtype)

    def element_type(self, value: ir.Value) -> ir.DataType:
        """Return the type of a value, or raise `Opaque`."""
        inferred = self.network.facts.values.get(value.name or "")
        if inferred is None or inferred.dtype is None:
            raise Opaque(Reason.UNKNOWN_SHAPE, f"the type of {value.name} is not known")
        return inferred.dtype

    def dims(self, slot: int) -> Dims:
        """Return an input's dims.

        Raises:
            Opaque: not even the rank is known.
        """
        return self._dims(self.value(slot))

    def output_dims(self, output: int = 0) -> Dims:
        """Return an output's dims, or raise `Opaque`."""
        return self._dims(self.node.outputs[output])

    def _dims(self, value: ir.Value) -> Dims:
        dims = self.network.dims(value)
        if dims is None:
            raise Opaque(Reason.UNKNOWN_SHAPE, f"the rank of {value.name} is not known")
        return dims

    def rank(self, slot: int) -> int:
        """Return an input's rank, or raise `Opaque`."""
        return len(self.dims(slot))

    def label(self, slot: int) -> Ids:
        """Return an input's label, of the input's rank; the rule answers for its gauge then, see `hold_others`."""
        self._labelled.add(slot)
        label = self.network.label(self.value(slot))
        return labels.identity(self.rank(slot)) if label is None else label

    def channels(self, slot: int, axis: int, count: int, *, rank: int | None = None) -> Ids:
        """Return the gauge variables along one axis, shape (count,), made uniform along all others.

        Args:
            slot: the input.
            axis: that of the channels.
            count: the number of channels, or 1 where all of them have one gauge.
            rank: the input's rank where the operator's other inputs tell it; nothing else may be known of the shape.
        """
        if rank is not None and self.network.dims(self.value(slot)) is None:
            self._labelled.add(slot)
            return np.full(count, IDENTITY)
        label = self.label(slot)
        label = self.uniform(label, [other for other in labels.varying(label) if other != axis])
        extent = self.dims(slot)[axis]
        if label.size not in {1, count} or (isinstance(extent, int) and count not in {1, extent}):
            raise InputError(
                f"{self.name}: its parameters are for {count} channels, {self.value(slot).name} has "
                f"{label.size if label.size > 1 else extent}."
            )
        return np.broadcast_to(label.ravel(), (count,))

    # Attributes

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_int()

    def number(self, name: str, default: float) -> float:
        """Return a floating-point attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_float()

    def string(self, name: str, default: str) -> str:
        """Return a string attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_string()

    def integers(self, name: str) -> Sequence[int] | None:
        """Return a list attribute, None where it is absent."""
        attribute = self.node.attributes.get(name)
        return None if attribute is None else attribute.as_ints()

    def integers_of(self, name: str, slot: int) -> list[int] | None:
        """Return what older opsets hold in an attribute and newer ones in a constant input; None where both are absent.

        Raises:
            Opaque: the input is there, but not constant.
        """
        attribute = self.integers(name)
        if attribute is not None or not self.has(slot):
            return None if attribute is None else list(attribute)
        array = self.constant(slot)
        if array is None:
            raise Opaque(Reason.NOT_CONSTANT, f"{self.value(slot).name} is not a constant")
        return [int(entry) for entry in array.ravel()]

    # Statements

    def fresh(self, count: int) -> Ids:
        """Return new gauge variables, shape (count,)."""
        return self.gauges.fresh(count)

    def positive(self, label: Ids) -> None:
        """State s > 0."""
        self.gauges.require_positive(label, self.index)

    def unshifted(self, label: Ids) -> None:
        """State σ = 0."""
        self.gauges.forbid_shift(label, self.index)

    def same_scale(self, first: Ids, second: Ids) -> None:
        """State equal scales, element by element after broadcasting."""
        self.gauges.relate_scales(*_pairs(first, second), 1.0, self.index)

    def same(self, first: Ids, second: Ids) -> None:
        """State equal gauges, element by element after broadcasting."""
        left, right = _pairs(first, second)
        self.gauges.relate_scales(left, right, 1.0, self.index)
        self.gauges.relate_shifts([(1.0, left), (-1.0, right)], 0.0, self.index)

    def uniform(self, label: Ids, axes: Iterable[int]) -> Ids:
        """Make the gauge the same along ``axes``; return the label with extent 1 there."""
        first = label
        for axis in axes:
            first = first.take([0], axis=axis)
        if first.size != label.size:
            self.network.narrowed = True
            self.same(first, label)
        return first

    def hold(self, slot: int) -> None:
        """Keep an input as it is: s = 1, σ = 0."""
        if self.has(slot):
            self.network.hold(self.value(slot), self.index)

    def hold_others(self) -> None:
        """Keep every input as it is whose label the rule has not asked for: shapes, scales, slopes."""
        for slot in range(len(self.node.inputs)):
            if slot not in self._labelled:
                self.hold(slot)

    # Results

    def emit(self, label: Ids, output: int = 0) -> None:
        """Give an output its label; one without elements has no gauge to speak of."""
        if label.size:
            self.network.set_label(self.node.outputs[output], label)

    def emit_channels(self, channels: Ids, axis: int, rank: int) -> None:
        """Give the output a label that varies along one axis only."""
        self.emit(labels.along(channels, axis, rank))

    def linear(self, linear: Linear) -> None:
        """Record the node as a linear operator."""
        self.network.linears[linear.node] = linear

    def sum(self, operands: Sequence[Ids]) -> None:
        """Record the node as one that adds up values with these labels."""
        self.network.sums[self.node] = operands

    def threshold(self, label: Ids) -> None:
        """Record the node as a rectifier that can carry shifts."""
        self.network.thresholds.append(Threshold(self.node, self.element_type(self.node.outputs[0]), label))

    def pointwise(self, pointwise: Pointwise) -> None:
        """Record the node as a per-channel affine map."""
        self.network.maps[pointwise.node] = pointwise


def _pairs(first: Ids, second: Ids) -> tuple[Ids, Ids]:
    """Return each pair of different variables that broadcasting brings together, once, as two columns."""
    left, right = (side.ravel() for side in np.broadcast_arrays(first, second))
    if not (is_ascending(left) or is_ascending(right)):
        left, right = np.divmod(distinct(left * (base := int(right.max(initial=0)) + 1) + right), base)
    different = left != right
    return left[different], right[different]
