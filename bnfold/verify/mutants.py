"""Wrong candidates, made from the right one: the mistakes that folding by hand makes, one node at a time.

Each mutant changes one node of a copy of the candidate. Where the original is at hand, the statistics of the
normalization that the node took up say how large the mistake is:

- wrong epsilon: 10⁻³ in place of 10⁻⁵ and the like, the two defaults that frameworks have;
- biased variance: the minibatch's own, m/(m−1) too small for m = 32 values;
- unscaled bias: the operator's own bias left out of the scaling;
- swapped group: the scales of one half of the channels given to the other;
- dropped border: a shift carried through zero padding as if the padding were shifted too;
- channel scale: one channel a hundredth too large.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.verify.oracle import Array


class Mistake(StrEnum):
    """What is wrong with a mutant."""

    WRONG_EPSILON = "wrong epsilon"
    UNSCALED_BIAS = "unscaled bias"
    BIASED_VARIANCE = "biased variance"
    SWAPPED_GROUP = "swapped group"
    DROPPED_BORDER = "dropped border"
    CHANNEL_SCALE = "channel scale"


_MINIBATCH = 32
"""Values a minibatch of the mistake `BIASED_VARIANCE`: one a sample, where the mistake is largest."""

_SCALE = 1.01

_WEIGHT_SLOT = 1
_BIAS_SLOT = 2


@dataclass(frozen=True)
class Statistics:
    """What a normalization of the original holds: γ, Var and ε, the first two of shape (C,)."""

    gamma: Array
    variance: Array
    epsilon: float

    @property
    def scale(self) -> Array:
        """Return a = γ/√(Var + ε)."""
        return self.gamma / np.sqrt(self.variance + self.epsilon)

    @property
    def other_epsilon(self) -> float:
        """Return the ε that another framework has."""
        return 1e-3 if self.epsilon < 3e-4 else 1e-5

    @property
    def epsilon_factor(self) -> Array:
        """Return by what the scale changes under the other ε, shape (C,)."""
        return np.sqrt((self.variance + self.epsilon) / (self.variance + self.other_epsilon))


@dataclass(frozen=True)
class Mutant:
    """One wrong candidate: the mistake, the node that it is in, and how to make it on a copy of the candidate."""

    mistake: Mistake
    node: str
    edit: "Callable[[ir.Model], None]"

    def made(self, candidate: ir.Model) -> ir.Model:
        """Return a copy of ``candidate`` with the mistake in it."""
        model = candidate.clone()
        self.edit(model)
        return model


def mutants(candidate: ir.Model, original: ir.Model | None, count: int) -> list[Mutant]:
    """Return up to ``count`` mutants, always the same ones: every mistake once, at nodes spread over the depth.

    After one of each kind the next nodes have their turn. ``original`` adds what depends on its statistics.
    """
    statistics = {} if original is None else _statistics(original)
    left = list(_possible(candidate, statistics).values())
    kinds, chosen = len(left), list[Mutant]()
    while any(left) and len(chosen) < count:
        turn = len(chosen)
        for rank, possible in enumerate(left):
            if possible and len(chosen) < count:
                # Each kind at another depth; the golden section puts later turns between those before.
                fraction = ((rank + 0.5) / kinds + turn * 0.618034) % 1.0
                chosen.append(possible.pop(int(fraction * len(possible))))
    return chosen


def _possible(candidate: ir.Model, statistics: Mapping[str, Statistics]) -> dict[Mistake, list[Mutant]]:
    """Return every mutant that makes sense, by mistake."""
    found: dict[Mistake, list[Mutant]] = {mistake: [] for mistake in Mistake}
    constants = Constants(candidate)
    for index, node in enumerate(candidate.graph):
        label = node.name or node.outputs[0].name or ""
        for mistake, edit in _edits(index, node, constants, statistics.get(node.outputs[0].name or "")):
            found[mistake].append(Mutant(mistake, label, edit))
    return {mistake: mutants for mistake, mutants in found.items() if mutants}


Edit = Callable[[ir.Model], None]


def _edits(
    index: int, node: ir.Node, constants: Constants, statistics: Statistics | None
) -> Iterator[tuple[Mistake, Edit]]:
    if node.op_type == "BatchNormalization":
        yield from _edits_of_batch_norm(index, node, constants)
        return
    axis = _channel_axis(node)
    weight = constants.get(node.inputs[_WEIGHT_SLOT]) if axis is not None and len(node.inputs) > 1 else None
    if axis is None or weight is None or weight.ndim < 2 or not weight.size:
        return
    if not ir.DataType.from_numpy(weight.dtype).is_floating_point():
        return
    channels = weight.shape[axis]
    bias = constants.get(node.inputs[_BIAS_SLOT]) if len(node.inputs) > _BIAS_SLOT else None
    # Behind a Relu a channel can be dead on all samples; that of the largest bias is the least likely one.
    alive = channels // 2 if bias is None or bias.size != channels else int(bias.argmax())
    yield Mistake.CHANNEL_SCALE, _scaled(index, axis, np.where(np.arange(channels) == alive, _SCALE, 1.0))
    fits = statistics is not None and statistics.scale.shape == (channels,)
    if fits and statistics is not None:
        yield Mistake.WRONG_EPSILON, _scaled(index, axis, statistics.epsilon_factor)
        yield Mistake.BIASED_VARIANCE, _scaled(index, axis, np.full(channels, np.sqrt(_MINIBATCH / (_MINIBATCH - 1))))
    scale = statistics.scale if fits and statistics is not None and statistics.scale.all() else None
    if bias is not None and bias.any():
        undone = np.zeros(channels) if scale is None else 1.0 / scale
        yield Mistake.UNSCALED_BIAS, _edit_input(index, _BIAS_SLOT, lambda old: old * undone)
    if channels > 1:
        if scale is not None:
            yield Mistake.SWAPPED_GROUP, _scaled(index, axis, np.roll(scale, channels // 2) / scale, bias=False)
        else:
            yield Mistake.SWAPPED_GROUP, _edit_input(index, _WEIGHT_SLOT, lambda old: np.roll(old, channels // 2, axis))
    if node.op_type in {"Conv", "FusedConv"} and any(_pads(node)):
        yield Mistake.DROPPED_BORDER, _shifted_padding(index)


def _edits_of_batch_norm(index: int, node: ir.Node, constants: Constants) -> Iterator[tuple[Mistake, Edit]]:
    """Yield the mistakes in a normalization that was kept."""
    parameters = [constants.get(value) for value in node.inputs[1:]]
    if any(parameter is None or not parameter.size for parameter in parameters):
        return
    gamma, _, _, variance = (np.asarray(parameter, dtype=np.float64) for parameter in parameters)
    attribute = node.attributes.get("epsilon")
    statistics = Statistics(gamma, variance, 1e-5 if attribute is None else attribute.as_float())

    def epsilon(model: ir.Model) -> None:
        value = ir.AttrFloat32("epsilon", statistics.other_epsilon)
        model.graph[index].attributes["epsilon"] = value

    yield Mistake.WRONG_EPSILON, epsilon
    yield Mistake.BIASED_VARIANCE, _edit_input(index, 4, lambda old: old * (_MINIBATCH - 1) / _MINIBATCH)
    middle = np.where(np.arange(len(gamma)) == len(gamma) // 2, _SCALE, 1.0)
    yield Mistake.CHANNEL_SCALE, _edit_input(index, 1, lambda old: old * middle)
    if len(gamma) > 1:
        yield Mistake.SWAPPED_GROUP, _edit_input(index, 1, lambda old: np.roll(old, len(old) // 2))


def _channel_axis(node: ir.Node) -> int | None:
    """Return which axis of the weight counts output channels; for a grouped ConvTranspose those of one group."""
    match node.op_type:
        case "Conv" | "FusedConv":
            return 0
        case "ConvTranspose":
            group = node.attributes.get("group")
            return 1 if group is None or group.as_int() == 1 else None
        case "Gemm" | "FusedGemm":
            transposed = node.attributes.get("transB")
            return 0 if transposed is not None and transposed.as_int() else 1
        case "MatMul":
            return -1
        case "FusedMatMul":
            transposed = node.attributes.get("transB")
            return -2 if transposed is not None and transposed.as_int() else -1
        case _:
            return None


def _pads(node: ir.Node) -> tuple[int, ...]:
    attribute = node.attributes.get("pads")
    return () if attribute is None else tuple(attribute.as_ints())


def _scaled(index: int, axis: int, factors: Array, *, bias: bool = True) -> Edit:
    """Return the edit that multiplies every output channel of a linear operator, and its bias, by a factor."""

    def along_axis(old: Array) -> Array:
        shape = [1] * old.ndim
        shape[axis] = -1
        return old * factors.reshape(shape)

    def edit(model: ir.Model) -> None:
        _edit_input(index, _WEIGHT_SLOT, along_axis)(model)
        node = model.graph[index]
        if bias and len(node.inputs) > _BIAS_SLOT and node.inputs[_BIAS_SLOT] is not None:
            _edit_input(index, _BIAS_SLOT, lambda old: old * factors)(model)

    return edit


def _edit_input(index: int, slot: int, change: Callable[[Array], Array]) -> Edit:
    """Return the edit that gives one node a constant of its own in the place of the one that it reads."""

    def edit(model: ir.Model) -> None:
        node = model.graph[index]
        old = Constants(model).get(node.inputs[slot])
        assert old is not None
        changed = change(old.astype(np.float64)).astype(old.dtype)
        node.replace_input_with(slot, _initializer(model, f"{node.outputs[0].name}.mutant{slot}", changed))

    return edit


def _shifted_padding(index: int) -> Edit:
    """Return the edit y = W·(x + 1) + (b − Σ W): right inside, wrong where taps read padding, which is not shifted."""

    def edit(model: ir.Model) -> None:
        node = model.graph[index]
        x = node.inputs[0]
        weight = Constants(model).get(node.inputs[_WEIGHT_SLOT])
        assert x is not None
        assert weight is not None
        name = f"{node.outputs[0].name}.mutant"
        one = _initializer(model, f"{name}.shift", np.ones(1, weight.dtype))
        shifted = ir.Node("", "Add", [x, one], outputs=[ir.Value(name=f"{name}.shifted")])
        model.graph.insert_before(node, shifted)
        node.replace_input_with(0, shifted.outputs[0])
        bias = Constants(model).get(node.inputs[_BIAS_SLOT]) if len(node.inputs) > _BIAS_SLOT else None
        undone = -weight.astype(np.float64).reshape(len(weight), -1).sum(axis=1)
        total = undone if bias is None else undone + bias.astype(np.float64)
        node.resize_inputs(max(_BIAS_SLOT + 1, len(node.inputs)))
        node.replace_input_with(_BIAS_SLOT, _initializer(model, f"{name}.bias", total.astype(weight.dtype)))

    return edit


def _initializer(model: ir.Model, name: str, array: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    model.graph.register_initializer(value)
    if model.ir_version < 4:  # every initializer is declared among the inputs then
        model.graph.inputs.append(value)
    return value


def _statistics(original: ir.Model) -> dict[str, Statistics]:
    """Return the normalizations of the original by the name of their input and of their result."""
    constants, found = Constants(original), dict[str, Statistics]()
    for node in original.graph:
        if node.op_type != "BatchNormalization" or len(node.inputs) < 5:
            continue
        gamma, variance = constants.get(node.inputs[1]), constants.get(node.inputs[4])
        if gamma is None or variance is None or node.inputs[0] is None:
            continue
        attribute = node.attributes.get("epsilon")
        epsilon = 1e-5 if attribute is None else attribute.as_float()
        statistics = Statistics(gamma.astype(np.float64), variance.astype(np.float64), epsilon)
        found |= {node.inputs[0].name or "": statistics, node.outputs[0].name or "": statistics}
    return found
