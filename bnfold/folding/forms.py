"""The two kinds of node that a fold rewrites: linear operators and per-channel affine maps."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bnfold.folding.affine import Affine, Array
from bnfold.folding.gauges import Ids


@dataclass(frozen=True, eq=False)
class Linear:
    """y = W·x + b with constant W: Conv, ConvTranspose, Gemm, MatMul.

    Attributes:
        node: the operator.
        weight_slot: which input holds the weight.
        weight: the weight in its own type; not copied, and widened only while it is computed with.
        sources: gauge variable of the input channel that each weight reads, broadcastable to ``weight``.
        targets: gauge variable of the output channel that each weight feeds, broadcastable to ``weight``.
        contraction: axes of ``weight`` that are summed over for one output channel.
        channels: gauge variables of the output channels in order, shape (M,).
        offset: the bias as the operator applies it (Gemm's beta included), shape (M,), zeros where there is none.
        bias: the node and which of its inputs holds the bias: the operator itself, or the Add behind a MatMul. None
            where an Add would have to be put there.
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

    def kernel(self) -> Array:
        """Return the weight in float64, silenced channels at 0."""
        kernel = self.weight.astype(np.float64)
        return np.where(np.isin(self.targets, list(self.silenced)), 0.0, kernel) if self.silenced else kernel

    def silence(self, channels: Iterable[int]) -> "Linear":
        """Return the operator with 0 as the value of some output channels, named by their gauge variables."""
        silenced = self.silenced | frozenset(channels)
        offset = np.where(np.isin(self.channels, list(silenced)), 0.0, self.offset)
        return replace(self, offset=offset, silenced=silenced)


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

    def factors(self) -> tuple[list[int], list[int], list[float], list[float]]:
        """Return x's variable, y's variable, a and b of every channel, each once."""
        arrays = np.broadcast_arrays(self.sources, self.targets, self.affine.scale, self.affine.offset)
        sources, targets, scale, offset = (array.ravel() for array in arrays)
        return sources.tolist(), targets.tolist(), scale.tolist(), offset.tolist()


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

    def parameters(self, affine: Affine) -> tuple[Array, ...]:
        """Return γ' = a'·√(Var + ε) and β' = b' + a'·E: the statistics stay what they are."""
        scale, offset = affine.scale.ravel(), affine.offset.ravel()
        return scale * self.deviation, offset + scale * self.mean


@dataclass(frozen=True)
class Solution:
    """The gauges of a plan: one scale and one shift per gauge variable.

    Attributes:
        scale: s, shape (variables,), float64, never 0.
        shift: σ, shape (variables,), float64.
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    def kernel(self, linear: Linear) -> Array:
        """Return W' = s_out·W/s_in; the operator's gain applies to it as it did to W."""
        kernel = linear.kernel()
        kernel *= self.scale[linear.targets]
        kernel /= self.scale[linear.sources]
        return kernel

    def bias(self, linear: Linear) -> tuple[Array, Array | None]:
        """Return b' = s_out·(b + σ_out − Σ W·σ_in), shape (M,), and what else to add behind a zero-padded operator.

        Σ W·σ_in is taken off everywhere, as if every tap read the input; but padding is 0, not the shift. What was
        taken too much is the border map, shape (1, M, *spatial): s_out·Σ W·σ_in over the taps that read padding, which
        along each axis depend on the position alone. None where no shift reaches padding; where the map is the same at
        all positions, it is part of b'.
        """
        scale, offset = self.scale[linear.channels], linear.offset + self.shift[linear.channels]
        shift = linear.gain * self.shift[linear.sources]
        if not np.any(shift):
            return scale * offset, None
        moved = linear.kernel() * shift
        if linear.taps is None:
            return scale * (offset - moved.sum(axis=linear.contraction)), None
        reached = moved.sum(axis=1)
        for taps in linear.taps:  # contracts the first tap axis left, appends the output axis
            reached = np.tensordot(reached, taps, axes=(1, 1))
        positions = tuple(range(1, reached.ndim))
        if (reached == reached[(slice(None), *(slice(1),) * len(positions))]).all():
            return scale * (offset - reached.max(axis=positions)), None
        total = moved.sum(axis=linear.contraction)
        border = np.expand_dims(scale, positions) * (np.expand_dims(total, positions) - reached)
        return scale * (offset - total), border[np.newaxis]

    def affine(self, pointwise: Pointwise) -> Affine:
        """Return a' = s_y·a/s_x and b' = s_y·(b + σ_y − a·σ_x)."""
        a, b = pointwise.affine.scale, pointwise.affine.offset
        s_x, s_y = self.scale[pointwise.sources], self.scale[pointwise.targets]
        sigma_x, sigma_y = self.shift[pointwise.sources], self.shift[pointwise.targets]
        scale, offset = np.broadcast_arrays(s_y * a / s_x, s_y * (b + sigma_y - a * sigma_x))
        return Affine(scale, offset)

    def is_identity(self, *labels: Ids) -> bool:
        """Whether every variable of ``labels`` has s = 1 and σ = 0 exactly."""
        return all(bool(np.all(self.scale[label] == 1.0) and not np.any(self.shift[label])) for label in labels)
