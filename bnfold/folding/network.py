"""A graph and the gauges of its values: what all rules write to, and what the plan reads from."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from bnfold.folding.forms import Linear, Pointwise, Threshold
from bnfold.folding.gauges import Gauges, Ids
from bnfold.folding.report import Reason
from bnfold.graph.constants import Constants
from bnfold.graph.shapes import Dims, dims_of, infer_values

if TYPE_CHECKING:
    from bnfold.folding.refusal import Refusal


class Opaque(Exception):
    """Raised by a rule that cannot follow gauges through its node: the node's operands then keep theirs at (1, 0)."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Facts:
    """What is known about a graph before any gauge is: read once, shared by all networks of the graph.

    The graph is a model's main one, or a body of an If, Loop or Scan. What a body reads from around it is as it is.

    Attributes:
        graph: the graph.
        constants: values that depend on no run-time input.
        values: shape and type of every value by its name, as far as inference knows them.
        nodes: the nodes by the number that statements name as their cause.
        numbers: that number by node.
        opset: version of the standard operators.
    """

    def __init__(self, model: ir.Model, graph: ir.Graph | None = None) -> None:
        self.graph = model.graph if graph is None else graph
        self.constants = Constants(model)
        self.values = infer_values(model, self.graph)
        self._dims = {name: dims_of(found.shape) for name, found in self.values.items() if found.shape is not None}
        self.nodes: list[ir.Node] = list(self.graph)
        self.numbers = {node: number for number, node in enumerate(self.nodes)}
        self.opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 1))

    def dims(self, value: ir.Value) -> Dims | None:
        """Return a value's dims, None where its rank is not known."""
        return self._dims.get(value.name or "")


class Network:
    """A graph with the gauges of its values.

    Attributes:
        facts: what is known about the graph.
        priced: nodes that take the form that carries more, at a cost at run time.
        gauges: what has been stated about scales and shifts.
        linears: the linear operators found, by node, in graph order.
        maps: the per-channel affine maps found, by node, in graph order.
        sums: nodes that add activations up, with the labels of these.
        thresholds: nodes of which each may become a maximum with a constant, with their label, in graph order.
        opaque: why a node's rule gave up, by node.
        narrowed: whether a rule had to make a gauge uniform; what is removed may take the need for it along.
        withheld: affine maps that a limit does not let go, with the reason.
        fixed: linear operators whose weight a limit does not leave to them alone, with the reason in words.
        equal: pairs of variables whose scales a limit has stated to be equal, which no rounding may part.
    """

    def __init__(self, facts: Facts, priced: Collection[ir.Node] = ()) -> None:
        self.facts = facts
        self.priced = priced
        self.gauges = Gauges()
        self.linears: dict[ir.Node, Linear] = {}
        self.maps: dict[ir.Node, Pointwise] = {}
        self.sums: dict[ir.Node, Sequence[Ids]] = {}
        self.thresholds: list[Threshold] = []
        self.opaque: dict[ir.Node, Opaque] = {}
        self.narrowed = False
        self.withheld: dict[Pointwise, Refusal] = {}
        self.fixed: dict[ir.Node, str] = {}
        self.equal: list[tuple[Ids, Ids]] = []
        self._labels: dict[ir.Value, Ids] = {}

    def label(self, value: ir.Value) -> Ids | None:
        """Return the label that a rule gave to a value; None where the gauge is (1, 0)."""
        return self._labels.get(value)

    def set_label(self, value: ir.Value, label: Ids) -> None:
        """Give a value its label."""
        self._labels[value] = label

    def dims(self, value: ir.Value) -> Dims | None:
        """Return a value's dims, None where its rank is not known; its label may know more than inference does."""
        dims, label = self.facts.dims(value), self.label(value)
        if label is None:
            return dims
        known = (None,) * label.ndim if dims is None else dims
        return tuple(extent if extent > 1 else dim for extent, dim in zip(label.shape, known, strict=True))

    @property
    def turning(self) -> list[Pointwise]:
        """The maps c − x that can go, of which no rule has said that they keep a scale's sign."""
        return [pointwise for pointwise in self.maps.values() if pointwise.carrier.turns_sign and pointwise.removable]

    def keep_sign(self, pointwise: Pointwise) -> None:
        """State that c − x stays, which s_y = s_x alone leaves as it is."""
        self.gauges.relate_scales(pointwise.targets, pointwise.sources, 1.0, self.facts.numbers[pointwise.node])

    def hold(self, value: ir.Value, cause: int) -> None:
        """Keep a value as it is, s = 1 and σ = 0: a graph output, an operand of an operator without a rule."""
        label = self.label(value)
        if label is not None:
            self.gauges.know_scale(label, cause)
            self.gauges.forbid_shift(label, cause)
