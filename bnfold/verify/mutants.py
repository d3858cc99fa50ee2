"""Wrong candidates, made from the right one: the mistakes that folding by hand makes, one node at a time.

Each mutant changes what one node of the candidate reads. Where the original is at hand, the statistics of the
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

# Inputs of linear operators, then those of BatchNormalization that mistakes are made in.
DATA_SLOT, WEIGHT_SLOT, BIAS_SLOT = 0, 1, 2
_SCALE_SLOT, _VARIANCE_SLOT = 1, 4


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


Change = Callable[[Array], Array]
"""Takes the right constant in double and returns the wrong one, of the same shape."""


@dataclass(frozen=True)
class Mutant:
    """One wrong candidate: the mistake, the node that it is in, and what that node reads instead.

    Attributes:
        mistake: what is wrong.
        node: its name, or that of its first result.
        index: its place in the graph.
        changes: by input slot how the constant there changes. Slot 0 stands for a shift of the data: rightly zero. An
            absent bias is rightly zero too.
    """

    mistake: Mistake
    node: str
    index: int
    changes: Mapping[int, Change]


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
        for mistake, changes in _changes(node, constants, statistics.get(node.outputs[0].name or "")):
            found[mistake].append(Mutant(mistake, label, index, changes))
    return {mistake: mutants for mistake, mutants in found.items() if mutants}


def _changes(
    node: ir.Node, constants: Constants, statistics: Statistics | None
) -> Iterator[tuple[Mistake, Mapping[int, Change]]]:
    if node.op_type == "BatchNormalization":
        yield from _changes_of_batch_norm(node, constants)
        return
    axis = _channel_axis(node)
    weight = constants.get(node.inputs[WEIGHT_SLOT]) if axis is not None and len(node.inputs) > 1 else None
    if axis is None or weight is None or weight.ndim < 2 or not weight.size:
        return
    if not ir.DataType.from_numpy(weight.dtype).is_floating_point():
        return
    channels = weight.shape[axis]
    added = node.inputs[BIAS_SLOT] if len(node.inputs) > BIAS_SLOT else None
    bias = _by_channel(constants.get(added), channels)
    # Behind a Relu a channel can be dead on all samples; that of the largest bias is the least likely one.
    alive = channels // 2 if bias is None or bias.size != channels else int(bias.argmax())
    along = [1] * weight.ndim
    along[axis] = -1

    def scaled(factors: Array) -> dict[int, Change]:
        changes: dict[int, Change] = {WEIGHT_SLOT: lambda old: old * factors.reshape(along)}
        return changes if bias is None else {**changes, BIAS_SLOT: lambda old: old * factors}

    yield Mistake.CHANNEL_SCALE, scaled(np.where(np.arange(channels) == alive, _SCALE, 1.0))
    fits = statistics is not None and statistics.scale.shape == (channels,)
    if fits and statistics is not None:
        yield Mistake.WRONG_EPSILON, scaled(statistics.epsilon_factor)
        yield Mistake.BIASED_VARIANCE, scaled(np.full(channels, np.sqrt(_MINIBATCH / (_MINIBATCH - 1))))
    scale = statistics.scale if fits and statistics is not None and statistics.scale.all() else None
    if bias is not None and bias.any():
        undone = np.zeros(channels) if scale is None else 1.0 / scale
        yield Mistake.UNSCALED_BIAS, {BIAS_SLOT: lambda old: old * undone}
    if channels > 1:
        if scale is not None:
            swapped = (np.roll(scale, channels // 2) / scale).reshape(along)
            yield Mistake.SWAPPED_GROUP, {WEIGHT_SLOT: lambda old: old * swapped}
        else:
            yield Mistake.SWAPPED_GROUP, {WEIGHT_SLOT: lambda old: np.roll(old, channels // 2, axis)}
    if any(_pads(node)) and (added is None or bias is not None):
        # y = W·(x + 1) + (b − Σ W): right inside, wrong where taps read padding, which is not shifted.
        yield Mistake.DROPPED_BORDER, {DATA_SLOT: lambda old: old + 1, BIAS_SLOT: lambda old: old - _row_sums(weight)}


def _changes_of_batch_norm(node: ir.Node, constants: Constants) -> Iterator[tuple[Mistake, Mapping[int, Change]]]:
    """Yield the mistakes in a normalization that was kept."""
    parameters = [constants.get(value) for value in node.inputs[1:]]
    if any(parameter is None or not parameter.size for parameter in parameters):
        return
    gamma, _, _, variance = (np.asarray(parameter, dtype=np.float64) for parameter in parameters)
    attribute = node.attributes.get("epsilon")
    statistics = Statistics(gamma, variance, 1e-5 if attribute is None else attribute.as_float())
    more = statistics.other_epsilon - statistics.epsilon  # Var + ε is all that the operator makes of either
    yield Mistake.WRONG_EPSILON, {_VARIANCE_SLOT: lambda old: old + more}
    yield Mistake.BIASED_VARIANCE, {_VARIANCE_SLOT: lambda old: old * (_MINIBATCH - 1) / _MINIBATCH}
    middle = np.where(np.arange(len(gamma)) == len(gamma) // 2, _SCALE, 1.0)
    yield Mistake.CHANNEL_SCALE, {_SCALE_SLOT: lambda old: old * middle}
    if len(gamma) > 1:
        yield Mistake.SWAPPED_GROUP, {_SCALE_SLOT: lambda old: np.roll(old, len(old) // 2)}


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


def _row_sums(weight: np.ndarray) -> Array:
    return weight.astype(np.float64).reshape(len(weight), -1).sum(axis=1)


def _by_channel(bias: np.ndarray | None, channels: int) -> np.ndarray | None:
    """Return a bias that has a number for each channel; others are not what a fold leaves."""
    return bias if bias is not None and bias.shape[-1:] == (channels,) else None


def _pads(node: ir.Node) -> tuple[int, ...]:
    """Return by how many zeros the data of a convolution are padded, one an end of an axis."""
    attribute = node.attributes.get("pads") if node.op_type in {"Conv", "FusedConv"} else None
    return () if attribute is None else tuple(attribute.as_ints())


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
