"""Where a convolution reads: the arithmetic of kernels, strides, dilations and padding, axis by axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bnfold.merging.report import Hindrance, Unmergeable


@dataclass(frozen=True)
class Axis:
    """One spatial axis: output position o reads input positions o·stride + k·dilation − before, 0 ≤ k < taps.

    Attributes:
        taps: extent of the kernel.
        stride: input positions from one output position to the next.
        dilation: input positions from one tap to the next; 1 where there is one tap.
        before: zeros in front of the input.
        after: zeros behind it.
    """

    taps: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        """Bring the dilation of a single tap, which has no effect, to 1."""
        if self.taps == 1:
            object.__setattr__(self, "dilation", 1)

    @property
    def span(self) -> int:
        """Input positions from the first tap to the last."""
        return (self.taps - 1) * self.dilation

    @property
    def surplus(self) -> int:
        """T, on which the output's extent depends: an input of extent X gives ⌊(X − 1 + T) / stride⌋ + 1 positions."""
        return self.before + self.after - self.span

    def output(self, extent: int) -> int:
        """Return the output's extent for an input of ``extent``."""
        return (extent - 1 + self.surplus) // self.stride + 1

    def then(self, outer: "Axis", *, silent: bool) -> "Axis":
        """Return this convolution followed by ``outer`` as one.

        ``outer`` reads i = o·s₂ + j·d₂ − p₂ of the result between the two, which reads i·s₁ + k·d₁ − p₁: taps at
        j·(d₂·s₁) + k·d₁, the stride s₁·s₂, the padding p₁ + s₁·p₂. The extents agree, since nested floors of
        integer quotients are one floor: T = T₁ + s₁·T₂.

        Args:
            outer: what follows.
            silent: whether this convolution has no bias. Where ``outer`` pads, it reads zeros beyond the result between
                the two, so that this convolution, continued there, must be 0: it has no bias and reads nothing but
                padding.

        Raises:
            Unmergeable: it is not 0 there.
        """
        front = not outer.before or (silent and self.span - self.before < self.stride)
        back = not outer.after or (silent and self.span <= self.after)
        if not (front and back):
            why = "reads its input" if silent else "has a bias"
            raise Unmergeable(Hindrance.BORDER, f"the second pads with zeros where the first {why}")
        far = outer.dilation * self.stride
        steps = ([far] if outer.taps > 1 else []) + ([self.dilation] if self.taps > 1 else [])
        dilation = math.gcd(*steps) or 1
        taps = ((outer.taps - 1) * far + self.span) // dilation + 1
        before, after = self.before + self.stride * outer.before, self.after + self.stride * outer.after
        return Axis(taps, self.stride * outer.stride, dilation, before, after)

    @classmethod
    def covering(cls, axes: Sequence[Self], extent: int | None) -> "Axis":
        """Return the smallest axis whose taps are those of all of ``axes``, which read one input side by side.

        Args:
            axes: one a branch.
            extent: of the input; None where it is known at run time only.

        Raises:
            Unmergeable: their strides or the extents of their outputs differ.
        """
        first = axes[0]
        if len({axis.stride for axis in axes}) > 1:
            raise Unmergeable(Hindrance.STRIDES, f"strides {' and '.join(sorted({str(a.stride) for a in axes}))}")
        surpluses = {axis.surplus for axis in axes}
        if len(surpluses) > 1 and (extent is None or len({axis.output(extent) for axis in axes}) > 1):
            words = " and ".join(sorted({f"({axis.before}, {axis.after}) for {axis.taps} taps" for axis in axes}))
            raise Unmergeable(Hindrance.PADS, f"pads {words}: the outputs do not surely have one extent")
        steps = [axis.dilation for axis in axes if axis.taps > 1] + [axis.before - first.before for axis in axes]
        dilation = math.gcd(*steps) or 1
        before, end = max(axis.before for axis in axes), max(axis.span - axis.before for axis in axes)
        taps = (end + before) // dilation + 1
        return Axis(taps, first.stride, dilation, before, max(surpluses) + end)

    def place(self, part: "Axis", *, at: int = 0) -> slice:
        """Return which of this axis' taps are those of ``part``, whose first tap lies ``at`` behind this one's."""
        return slice(at // self.dilation, (at + part.span) // self.dilation + 1, max(part.dilation // self.dilation, 1))


@dataclass(frozen=True)
class Geometry:
    """A convolution without its numbers: the weight is (outputs, inputs/groups, *taps).

    Attributes:
        inputs: input channels.
        outputs: output channels.
        groups: blocks of channels that do not see each other.
        axes: the spatial axes.
    """

    inputs: int
    outputs: int
    groups: int
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return (self.outputs, self.inputs // self.groups, *(axis.taps for axis in self.axes))

    @property
    def depthwise(self) -> bool:
        """Whether output channel c reads input channel c alone."""
        return self.inputs == self.outputs == self.groups

    @property
    def stride(self) -> int:
        """Input positions per output position, all axes together."""
        return math.prod(axis.stride for axis in self.axes)

    def then(self, outer: "Geometry", *, silent: bool) -> "Geometry":
        """Return this convolution followed by ``outer`` as one; see `Axis.then`.

        Raises:
            Unmergeable: they are not one convolution.
        """
        if outer.depthwise:
            groups = self.groups
        elif self.depthwise:
            groups = outer.groups
        else:
            groups = math.gcd(self.groups, outer.groups)
        pairs = zip(self.axes, outer.axes, strict=True)
        axes = tuple(mine.then(theirs, silent=silent) for mine, theirs in pairs)
        return Geometry(self.inputs, outer.outputs, groups, axes)

    @classmethod
    def covering(cls, branches: Sequence[Self], extents: Sequence[int | None]) -> "Geometry":
        """Return the smallest convolution that can be the sum of ``branches``; see `Axis.covering`.

        Raises:
            Unmergeable: there is none.
        """
        first = branches[0]
        assert all((branch.inputs, branch.outputs) == (first.inputs, first.outputs) for branch in branches)
        columns = zip(*(branch.axes for branch in branches), strict=True)
        axes = tuple(Axis.covering(column, extent) for column, extent in zip(columns, extents, strict=True))
        return Geometry(first.inputs, first.outputs, math.gcd(*(branch.groups for branch in branches)), axes)
