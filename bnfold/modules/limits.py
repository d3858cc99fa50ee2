"""What a plan has to respect for all of its edits to be new values of a module's own parameters.

1. A weight keeps one value for all calls that share it; so does a bias. Those that no parameter holds stay as they are.
2. A normalization goes only with all calls of its module, and only if a module is all that it is.
3. Arithmetic in ``forward`` stays; its constants change only where they are parameters.

All of it is stated about gauges before the first removal is tried, so that a removal that would need another edit is
refused like any other.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from bnfold.folding.forms import Linear, Normalization, Pointwise
from bnfold.folding.labels import with_rank
from bnfold.folding.network import Network
from bnfold.folding.refusal import Refusal
from bnfold.folding.report import Reason
from bnfold.folding.sharing import Call, calls_by_weight, keep_scales, readers, tie_weights
from bnfold.modules.batch_norms import TENSORS
from bnfold.modules.places import Places, slots


class WriteLimits:
    """The limits of one module, as a `bnfold.folding.plan.Limit`.

    Args:
        places: where the module keeps its constants.
        kept: modules whose normalization is known to stay, by name, with the reason.
    """

    def __init__(self, places: Places, kept: Mapping[str, Refusal]) -> None:
        self.places = places
        self.kept = kept

    def __call__(self, network: Network) -> None:
        """State the limits."""
        tie_weights(network)
        self._keep_foreign_weights(network)
        self._limit_biases(network)
        for pointwise in network.maps.values():
            refusal = self._withheld(pointwise, network)
            if refusal is not None:
                network.withheld[pointwise] = refusal
        self._limit_kept(network)

    # Linear operators

    def _keep_foreign_weights(self, network: Network) -> None:
        """Leave weights as they are that are not a tensor of the module that can be written."""
        for root, calls in calls_by_weight(network).items():
            if self.places.of(root) is None:
                keep_scales((call.linear for call in calls), network)
                network.fixed.update((call.linear.node, "its weight is no parameter that can be set") for call in calls)

    def _limit_biases(self, network: Network) -> None:
        """Leave biases as they are that cannot be written, or that operators share which do not share their weight."""
        calls = [call for group in calls_by_weight(network).values() for call in group]
        by_place: dict[str | None, list[Call]] = {}
        for call in calls:
            by_place.setdefault(self.places.of_bias(call.linear), []).append(call)
        for place, sharing in by_place.items():
            if place is None or not self._is_one_bias(place, sharing):
                for call in sharing:
                    _keep_bias(call.linear, network)
            else:
                for first, second in pairwise(sharing):
                    _equate_shifts(first, second, network)

    def _is_one_bias(self, place: str, calls: list[Call]) -> bool:
        """Whether one new value can serve all that read a bias."""
        root = self.places.root(place)
        own = {call.linear.bias for call in calls}
        first = calls[0]
        weights = {self.places.stored(_weight(call.linear)).root for call in calls}
        alone = root is None or set(readers(root)) <= own
        return alone and len(weights) == 1 and all(call.is_like(first) for call in calls)

    # Affine maps

    def _withheld(self, pointwise: Pointwise, network: Network) -> Refusal | None:
        """Return why a map has to stay, None where it may go."""
        if not isinstance(pointwise, Normalization):
            return Refusal(Reason.NOT_WRITABLE, None, "it is arithmetic in forward")
        owner = self.places.normalizers.owners.get(pointwise.node)
        if owner is not None and owner in self.kept:
            return self.kept[owner]
        why = self.places.normalizers.refusal(pointwise.node) or self._read_elsewhere(owner, network)
        return None if why is None else Refusal(Reason.NOT_WRITABLE, None, why)

    def _read_elsewhere(self, owner: str | None, network: Network) -> str | None:
        """Say who else reads the parameters of a module, None where its calls are all."""
        owners = self.places.normalizers.owners
        for name in TENSORS:
            root = self.places.root(f"{owner}.{name}".lstrip("."))
            others = [] if root is None else [node for node, _ in readers(root) if owners.get(node) != owner]
            foreign = [node for node in others if node not in owners]  # another module may hold the same tensor
            if root is not None and (foreign or root.is_graph_output()):
                return f"forward reads its {name} elsewhere"
        if any(node not in network.maps for node, name in owners.items() if name == owner):
            return "another call of it cannot be followed"
        return None

    def _limit_kept(self, network: Network) -> None:
        """Let a map that stays take up gauges where its parameters can be written, for all calls that share them."""
        by_places: dict[tuple[str | None, ...], list[Pointwise]] = {}
        for pointwise in network.withheld:
            by_places.setdefault(self.places.of_parameters(pointwise), []).append(pointwise)
        for places, calls in by_places.items():
            if not self._can_be_written(places, calls):
                for pointwise in calls:
                    _keep_parameters(pointwise, network)
                continue
            for first, second in pairwise(calls):
                cause = network.facts.numbers[second.node]
                for one, other in ((first.sources, second.sources), (first.targets, second.targets)):
                    network.gauges.relate_scales(one, other, 1.0, cause)
                    network.gauges.relate_shifts([(1.0, one), (-1.0, other)], 0.0, cause)

    def _can_be_written(self, places: tuple[str | None, ...], calls: list[Pointwise]) -> bool:
        """Whether one new value of each parameter, in the shape that it has, serves all calls, which alone read it."""
        if len(set(places)) != len(places) or not all(_is_same(calls[0], pointwise) for pointwise in calls):
            return False
        own = slots(calls)
        for place, slot in zip(places, calls[0].parameter_slots, strict=True):
            if place is None:
                return False
            root = self.places.root(place)
            if root is not None and not (set(readers(root)) <= own and _holds(calls[0], slot, root)):
                return False
        return True


def _weight(linear: Linear) -> ir.Value:
    value = linear.node.inputs[linear.weight_slot]
    assert value is not None
    return value


def _keep_bias(linear: Linear, network: Network) -> None:
    """State that b' = s_y·(b + σ_y − Σ W·σ_x) is b."""
    cause = network.facts.numbers[linear.node]
    network.gauges.forbid_shift(np.union1d(linear.sources, linear.targets), cause)
    if linear.offset.any():
        network.gauges.know_scale(linear.targets, cause)
        network.fixed.setdefault(linear.node, "its bias is no parameter that can be set")


def _equate_shifts(first: Call, second: Call, network: Network) -> None:
    cause = network.facts.numbers[second.linear.node]
    for one, other in ((first.sources, second.sources), (first.targets, second.targets)):
        network.gauges.relate_shifts([(1.0, one), (-1.0, other)], 0.0, cause)


def _keep_parameters(pointwise: Pointwise, network: Network) -> None:
    """State that a' = s_y·a/s_x is a, and b' = s_y·(b + σ_y − a·σ_x) is b."""
    cause = network.facts.numbers[pointwise.node]
    affine, x, y = pointwise.affine, pointwise.sources, pointwise.targets
    network.gauges.relate_scales(y, x, 1.0, cause)
    network.gauges.relate_shifts([(1.0, y), (-affine.scale, x)], 0.0, cause)
    shifted = np.broadcast_arrays(x, affine.offset)[0][np.broadcast_arrays(affine.offset, x)[0] != 0]
    network.gauges.know_scale(shifted, cause)


def _is_same(first: Pointwise, second: Pointwise) -> bool:
    """Whether two maps compute the same and hold it alike, so that equal gauges make equal parameters of both."""
    return (
        first.carrier is second.carrier
        and first.sources.shape == second.sources.shape
        and first.targets.shape == second.targets.shape
        and all(map(np.array_equal, first.parameters(first.affine), second.parameters(second.affine)))
        and np.array_equal(first.affine.offset, second.affine.offset)
    )


def _holds(pointwise: Pointwise, slot: int, root: ir.Value) -> bool:
    """Whether what gauges make of a parameter fits the shape that it has."""
    value = pointwise.node.inputs[slot]
    if isinstance(pointwise, Normalization):
        return True
    if value is None or root.shape is None or value is not root:
        return False
    rank = pointwise.targets.ndim
    stored = with_rank(np.empty(root.shape.numpy()), rank).shape
    gauges: Iterable[np.ndarray] = (
        pointwise.sources,
        pointwise.targets,
        pointwise.affine.scale,
        pointwise.affine.offset,
    )
    return np.broadcast_shapes(stored, *(array.shape for array in gauges)) == stored
