"""Random blocks of linear operators over one value, which belong together by construction."""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
from hypothesis import strategies as st

from tests.folding.builder import Builder

Draw = Callable[[st.SearchStrategy[int]], int]


class Block:
    """Draws branches that read one value (N, C, *extents) and all give (N, M, *outputs)."""

    def __init__(self, draw: Draw, builder: Builder, x: str, channels: int, rank: int) -> None:
        self.draw, self.builder, self.x, self.channels, self.rank = draw, builder, x, channels, rank
        self.outputs = channels if self.flag() else self.number(1, 3) * 2
        self.stride = self.number(1, 2)
        self.surplus = self.number(-2, 0)

    def number(self, low: int, high: int) -> int:
        """Draw an integer between two, both included."""
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        """Draw a boolean."""
        return self.number(0, 1) == 1

    def branch(self, depth: int = 2) -> str:
        """Draw a branch, and what follows it channel by channel."""
        kinds: list[Callable[[int], str]] = [
            self.conv,
            self.pointwise_first,
            self.pointwise_last,
            self.padded,
            self.pool,
        ]
        if depth and self.stride == 1 and self.outputs == self.channels:
            kinds.append(self.inner)
        if self.plain:
            kinds += [self.direct, self.direct]
        value = kinds[self.number(0, len(kinds) - 1)](depth)
        return self.follow(value) if value != self.x else value

    @property
    def plain(self) -> bool:
        """Whether a branch may be the value itself."""
        return self.stride == 1 and self.surplus == 0 and self.outputs == self.channels

    def window(self, *, farthest: int = 2) -> dict[str, Any]:
        """Draw kernel, dilation and uneven pads that give every branch the same output's extents."""
        taps, dilations, before, after = [], [], [], []
        for _ in range(self.rank):
            dilation, count = self.number(1, farthest), self.number(1, 3)
            while (count - 1) * dilation + self.surplus < 0:
                count += 1
            pads = (count - 1) * dilation + self.surplus
            taps.append(count)
            dilations.append(dilation)
            before.append(self.number(0, pads))
            after.append(pads - before[-1])
        return {"taps": taps, "dilations": dilations, "pads": before + after, "strides": [self.stride] * self.rank}

    def group(self, inputs: int, outputs: int) -> int:
        """Draw a number of groups."""
        return [1, 2, inputs if outputs % inputs == 0 else 2][self.number(0, 2)]

    def conv(self, _: int) -> str:
        """A Conv of any kernel, dilation, padding and grouping."""
        window = self.window()
        taps = window.pop("taps")
        group = self.group(self.channels, self.outputs)
        bias = self.flag()
        return self.builder.conv(self.x, self.channels, self.outputs, *taps, group=group, bias=bias, **window)

    def pointwise_first(self, _: int) -> str:
        """A Conv of one tap, then one of several; without a bias, so that padding in between may be seen through."""
        middle = self.number(1, 3) * 2
        first = self.builder.conv(self.x, self.channels, middle, *[1] * self.rank, bias=self.flag())
        window = self.window()
        taps = window.pop("taps")
        return self.builder.conv(first, middle, self.outputs, *taps, group=self.group(middle, self.outputs), **window)

    def pointwise_last(self, _: int) -> str:
        """A Conv of several taps, then one of one."""
        window, middle = self.window(), self.number(1, 3) * 2
        taps = window.pop("taps")
        first = self.builder.conv(
            self.x, self.channels, middle, *taps, group=self.group(self.channels, middle), **window
        )
        return self.builder.conv(first, middle, self.outputs, *[1] * self.rank)

    def padded(self, _: int) -> str:
        """Zeros by an operator of their own, then a Conv."""
        window = self.window()
        taps, pads = window.pop("taps"), window.pop("pads")
        zeros = [0, 0, *pads[: self.rank], 0, 0, *pads[self.rank :]]
        padded = self.builder("Pad", self.x, self.builder.integers(*zeros))
        return self.builder.conv(padded, self.channels, self.outputs, *taps, **window)

    def pool(self, _: int) -> str:
        """A mean that counts its padding, in front of or behind a change of channels."""
        window = self.window(farthest=1)
        window.pop("dilations")
        kernel = window.pop("taps")
        change = self.outputs != self.channels or self.flag()
        first = change and self.flag()
        x = self.x
        if first:
            x = self.builder.conv(x, self.channels, self.outputs, *[1] * self.rank, bias=self.flag())
        x = self.builder("AveragePool", x, kernel_shape=kernel, count_include_pad=1, **window)
        if change and not first:
            x = self.builder.conv(x, self.channels, self.outputs, *[1] * self.rank)
        return x

    def inner(self, depth: int) -> str:
        """A sum within the sum."""
        return self.sum(depth - 1)

    def direct(self, _: int) -> str:
        """The value itself."""
        return self.x

    def follow(self, value: str) -> str:
        """Draw a map of each channel."""
        shape = (1, self.outputs, *[1] * self.rank)
        match self.number(0, 7):
            case 0:
                return self.builder.batch_norm(
                    value, self.outputs, gamma=self.builder.generator.normal(size=self.outputs)
                )
            case 1:
                return self.builder("Mul", value, self.builder.normal(*shape))
            case 2:
                return self.builder("Sub", self.builder.normal(*shape[1:]), value)
            case 3:
                return self.builder("Div", value, self.builder.positive(*shape))
            case 4:
                return self.builder("Neg", self.builder("Add", value, self.builder.normal()))
            case _:
                return value

    def sum(self, depth: int = 2) -> str:
        """Draw two to four branches and add them up, in one way or another."""
        branches = [self.branch(depth) for _ in range(self.number(2, 4))]
        if self.flag():
            return self.builder("Sum", *branches)
        total = branches[0]
        for branch in branches[1:]:
            total = self.builder(["Add", "Sub"][self.number(0, 1)], total, branch)
        return total


@st.composite
def blocks(draw: Draw) -> ir.Model:
    """Draw a graph of one to three blocks with a nonlinear operator in between, or none, some values also outputs."""
    builder = Builder(seed=draw(st.integers(0, 2**16)))
    rank, channels = draw(st.sampled_from([1, 2, 2, 2, 3])), draw(st.sampled_from([2, 4, 6]))
    dynamic = draw(st.booleans())
    extents = [f"side{axis}" if dynamic else 11 + axis for axis in range(rank)]
    x, outputs = builder.input("N", channels, *extents), []
    for _ in range(draw(st.integers(1, 2))):
        block = Block(draw, builder, x, channels, rank)
        x, channels = block.sum(), block.outputs
        if draw(st.integers(0, 4)) == 0:
            outputs.append(x)
        if draw(st.integers(0, 2)):
            x = builder("Relu", x)
    return builder.model(*dict.fromkeys([*outputs, x]))
