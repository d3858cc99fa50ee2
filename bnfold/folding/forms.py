"""The kinds of node that a fold rewrites: linear operators, per-channel affine maps, and rectifiers."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from bnfold.folding.affine import Affine, Array
from bnfold.folding.gauges import Ids


def part_of(label: Ids, part: slice) -> Ids:
    """Return what of a label belongs to a part, along the first axis, of the weight that it broadcasts to."""
    return label if label.shape[0] == 1 else label[part]


@dataclass(frozen=True, eq=False)
class Linear:
    """y = W·x + b with constant W: Conv, ConvTranspose, Gemm, MatMul, Einsum.

    Attributes:
        node: the operator.
        weight_slot: which input holds the weight.
        weight: the weight in its own type; not copied, and widened only while it is computed with.
        sources: gauge variable of the input channel that each weight reads, broadcastable to ``weight``.
        targets: gauge variable of the output channel that each weight feeds, broadcastable to ``weight``.
        contraction: axes of ``weight`` that are summed over for one output channel.
        channels: gauge variables of the output channels in order, shape (M,).
        offset: the bias as the operator applies it (Gemm's beta included), shape (M,), zeros where there is none.
        bias: the node and which of its inputs holds the bias: the operator itself, or the Add behind a MatMul or an
            Einsum. None where an Add would have to be put there.
        gain: what the operator itself multiplies the weight by (Gemm's alpha).
        taps: for an operator whose zero padding may carry a shift, one array a spatial axis, of shape (output extent,
            kernel extent): 1 where the tap reads the input, 0 where it reads padding. None elsewhere.
        silenced: output channels whose weights and bias become 0, since a normalization with γ = 0 alone reads them.
    """

    node: ir.Node
    weight_slot: int
    weight: np.ndarray
    sources: Ids
    targets: Ids
    contraction: tuple[int, ...]
    channels: Ids
    offset: Array
    bias: tuple[ir.Node, int] | None
    gain: float = 1.0
    taps: tuple[Array, ...] | None = None
    silenced: frozenset[int] = frozenset()

    @property
    def dtype(self) -> ir.DataType:
        """The weight's own type."""
        return ir.DataType.from_numpy(self.weight.dtype)

    def kernel(self, part: slice = slice(None)) -> Array:
        """Return a part of the weight, along its first axis, in float64, silenced channels at 0."""
        kernel = self.weight[part].astype(np.float64)
        if self.silenced:
            kernel[np.broadcast_to(np.isin(part_of(self.targets, part), list(self.silenced)), kernel.shape)] = 0.0
        return kernel

    def summed(self, moved: Array) -> Array:
        """Return the sum over input channels of an array of the weight's shape, laid out as ``offset`` is."""
        return moved.sum(axis=self.contraction)

    def stored_offset(self, offset: Array) -> Array:
        """Return ``offset`` in the shape in which the operator reads a bias."""
        return offset

    def silence(self, channels: Iterable[int]) -> "Linear":
        """Return the operator with 0 as the value of some output channels, named by their gauge variables."""
        silenced = self.silenced | frozenset(channels)
        offset = np.where(np.isin(self.channels, list(silenced)), 0.0, self.offset)
        return replace(self, offset=offset, silenced=silenced)


@dataclass(frozen=True, eq=False)
class Recurrent(Linear):
    """What LSTM, GRU and RNN do to their input before all else: W·x + b for each direction.

    The weight is (D, R, I). The bias is (D, 2·R), of which the second half belongs to the state; ``offset`` is all of
    it, and ``channels`` are as many.
    """

    def summed(self, moved: Array) -> Array:
        """Return the sums in the first half of each direction's row."""
        total = moved.sum(axis=self.contraction)
        return np.concatenate([total, np.zeros_like(total)], axis=1).ravel()

    def stored_offset(self, offset: Array) -> Array:
        """Return a row for each direction."""
        return offset.reshape(len(self.weight), -1)


@dataclass(frozen=True, eq=False)
class Contraction(Linear):
    """A sum of products with constant W, as Einsum writes it; any axes of the result may be those of channels.

    Attributes:
        order: the axes of the weight that are not summed over, by their numbers among these, in the result's order.
        shape: of the channels as they lie in the result, 1 along its other axes.
    """

    order: tuple[int, ...] = field(kw_only=True)
    shape: tuple[int, ...] = field(kw_only=True)

    def summed(self, moved: Array) -> Array:
        """Return the sums in the order in which the channels lie in the result."""
        return moved.sum(axis=self.contraction).transpose(self.order).ravel()

    def stored_offset(self, offset: Array) -> Array:
        """Return the channels as they lie in the result, without leading axes of extent 1; one axis at least."""
        leading = next((axis for axis, extent in enumerate(self.shape) if extent != 1), len(self.shape) - 1)
        return offset.reshape(self.shape[leading:])


@dataclass(frozen=True, eq=False)
class Threshold:
    """y = max(x, 0), which at shift σ and s > 0 is ỹ = max(x̃, s·σ).

    Attributes:
        node: the Relu.
        dtype: the type of x and y.
        label: gauge variables of x and y alike, of their rank.
    """

    node: ir.Node
    dtype: ir.DataType
    label: Ids


class Carrier(StrEnum):
    """How a node holds its affine map: which of a and b it has, and in what form."""

    BATCH_NORM = "batch normalization"
    MULTIPLIER = "x · a"
    DIVISOR = "x / (1/a)"
    ADDEND = "x + b"
    SUBTRAHEND = "x − (−b)"
    MINUEND = "b − x"
    STANDARDIZATION = "standardized x · a + b"

    @property
    def turns_sign(self) -> bool:
        """Whether the signs of the scales before and behind a node differ where it goes, and agree where it stays."""
        return self is Carrier.MINUEND

    @property
    def has_scale(self) -> bool:
        """Whether a kept node can take any a."""
        return self in {Carrier.BATCH_NORM, Carrier.MULTIPLIER, Carrier.DIVISOR}

    @property
    def has_offset(self) -> bool:
        """Whether a kept node can take any b."""
        return self not in {Carrier.MULTIPLIER, Carrier.DIVISOR}


@dataclass(frozen=True, eq=False)
class Pointwise:
    """y = a·x + b with constant a and b that vary along the axes of the channels.

    Attributes:
        node: the operator.
        slot: which input is x.
        carrier: how the node holds a and b.
        dtype: the type in which it holds them.
        affine: a and b; broadcastable against ``sources`` and ``targets``.
        sources: gauge variables of x, of y's rank.
        targets: gauge variables of y.
        removable: False where a or b varies along more axes than the gauge does.
    """

    node: ir.Node
    slot: int
    carrier: Carrier
    dtype: ir.DataType
    affine: Affine
    sources: Ids
    targets: Ids
    removable: bool = True

    @property
    def input(self) -> ir.Value:
        """The value x."""
        value = self.node.inputs[self.slot]
        assert value is not None
        return value

    @property
    def parameter_slots(self) -> tuple[int, ...]:
        """The inputs that `parameters` are for."""
        return (1 - self.slot,)

    @property
    def vectors_along(self) -> int | None:
        """The axis that parameters which are vectors lie along; None where they are aligned with y as operands are."""
        return None

    def parameters(self, affine: Affine) -> tuple[Array, ...]:
        """Return the constants with which the node would compute ``affine``, in the order of its inputs."""
        match self.carrier:
            case Carrier.MULTIPLIER:
                return (affine.scale,)
            case Carrier.DIVISOR:
                return (1.0 / affine.scale,)
            case Carrier.SUBTRAHEND:
                return (-affine.offset,)
            case _:
                return (affine.offset,)


@dataclass(frozen=True, eq=False)
class Normalization(Pointwise):
    """BatchNormalization at inference: γ·(x − E)/√(Var + ε) + β.

    Attributes:
        mean: E, shape (C,).
        deviation: √(Var + ε), the same shape.
    """

    mean: Array = field(kw_only=True)
    deviation: Array = field(kw_only=True)

    @property
    def parameter_slots(self) -> tuple[int, ...]:
        """The inputs of γ and β."""
        return (1, 2)

    @property
    def vectors_along(self) -> int | None:
        """The channel axis."""
        return 1

    def parameters(self, affine: Affine) -> tuple[Array, ...]:
        """Return γ' = a'·√(Var + ε) and β' = b' + a'·E: the statistics stay what they are."""
        scale, offset = affine.scale.ravel(), affine.offset.ravel()
        return scale * self.deviation, offset + scale * self.mean


@dataclass(frozen=True, eq=False)
class Standardization(Pointwise):
    """y = a·z + b, where the operator itself makes z of x by the statistics of each sample; it is not removable.

    Attributes:
        axis: of y, along which a and b vary.
        shifts: whether the operator has a b at all.
    """

    axis: int = field(kw_only=True)
    shifts: bool = field(kw_only=True)

    @property
    def parameter_slots(self) -> tuple[int, ...]:
        """The inputs of a and, where there is one, b."""
        return (1, 2) if self.shifts else (1,)

    @property
    def vectors_along(self) -> int | None:
        """The axis of the channels."""
        return self.axis

    def parameters(self, affine: Affine) -> tuple[Array, ...]:
        """Return a and, where there is one, b, as vectors."""
        both = affine.scale.ravel(), affine.offset.ravel()
        return both if self.shifts else both[:1]
