"""Random graphs from the whole operator table: `programs` is the strategy, `Program` what its steps extend."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import onnx.printer
import onnx_ir as ir
from hypothesis import reject
from hypothesis import strategies as st

from bnfold.verify.oracle import Value
from tests.folding.builder import Builder, Dim, Tensor
from tests.folding.checker import random_inputs

T = TypeVar("T")

LARGEST = 1500
"""Elements of the largest value that a step may start from."""

LINEAR = ("Conv", "MatMul", "Gemm", "ConvTranspose", "BatchNormalization", "Conv")
"""Operators that a step is drawn from more often than from the others."""

OPSETS = (13, 17, 18, 21)


class Live(NamedTuple):
    """A value of the graph under construction, with the extents that it has on the inputs that will be fed."""

    name: str
    dims: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.dims)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)


@dataclass
class Program:
    """A graph under construction: the builder, the values so far, and the source of every choice.

    Attributes:
        fixed: axes that no step may resize, merge or move: the first where the batch is dynamic.
    """

    draw: st.DrawFn
    builder: Builder
    values: list[Live]
    fixed: int
    weights: dict[tuple[int, ...], list[str]] = field(default_factory=dict[tuple[int, ...], list[str]])

    # Choices

    def flag(self) -> bool:
        """Choose yes or no."""
        return self.draw(st.booleans())

    def number(self, low: int, high: int) -> int:
        """Choose an integer of a closed range."""
        return self.draw(st.integers(low, high))

    def choice(self, options: Sequence[T]) -> T:
        """Choose one of several; shrinks to the first."""
        return self.draw(st.sampled_from(options))

    def axis(self, x: Live, first: int | None = None) -> int:
        """Choose an axis that steps may touch."""
        return self.number(self.fixed if first is None else first, x.rank - 1)

    def value(self, accepts: Callable[[Live], bool]) -> Live | None:
        """Choose a value; shrinks to the newest."""
        options = [value for value in reversed(self.values) if accepts(value)]
        return self.choice(options) if options else None

    # Weights

    def array(self, *shape: int, positive: bool = False) -> Tensor:
        """Draw numbers of magnitude 0.25 to 2; without ``positive`` of both signs, and sometimes with zeros."""
        generator = self.builder.generator
        numbers = generator.uniform(0.25, 2.0, shape)
        if not positive and self.flag():
            numbers *= generator.choice([-1.0, 1.0], shape)
        if not positive and self.number(0, 5) == 5:
            numbers *= generator.integers(0, 2, shape)
        return numbers

    def weight(self, *shape: int) -> str:
        """Store a weight, or reuse one of the same shape."""
        known = self.weights.setdefault(shape, [])
        if known and self.number(0, 3) == 3:
            return self.choice(known)
        known.append(self.builder.stored(self.array(*shape)))
        return known[-1]

    def integers(self, *numbers: int) -> str:
        """Store a list of integers."""
        return self.builder.integers(*numbers)

    # Results

    def add(self, dims: Sequence[int], op_type: str, *inputs: str | None, **attributes: Any) -> Live:
        """Add a node and its result."""
        result = Live(self.builder(op_type, *inputs, **attributes), tuple(dims))
        self.values.append(result)
        return result

    def batch_norm(self, x: Live) -> Live:
        """Add a BatchNormalization: γ of any sign, tiny or 0, variances of 0 among others, ε small or large."""
        count = x.dims[1]
        parameters = [self.array(count), self.array(count), self.array(count), np.abs(self.array(count))]
        if self.number(0, 3) == 3:
            parameters[0] *= np.exp(self.builder.generator.uniform(-4.0, 0.0, count))
        names = [self.builder.stored(parameter) for parameter in parameters]
        epsilon = self.choice([0.25, 1e-5, None])
        attributes = {} if epsilon is None else {"epsilon": epsilon}
        return self.add(x.dims, "BatchNormalization", x.name, *names, **attributes)

    def factor(self, x: Live) -> Live:
        """Add a Mul by a constant per channel."""
        return self.add(x.dims, "Mul", x.name, self.weight(x.dims[1], *[1] * (x.rank - 2)))


Step = Callable[[Program, Live], object]
"""Adds nodes that start from a value; adds nothing where the value does not suit."""


class Case(NamedTuple):
    """A graph, and what to evaluate it on."""

    model: ir.Model
    inputs: Mapping[str, Value]

    def __repr__(self) -> str:
        """Print as text that a person can read, the weights included."""
        weights = {name: value.const_value for name, value in self.model.graph.initializers.items()}
        stored = {name: tensor.numpy().tolist() for name, tensor in weights.items() if tensor is not None}
        proto = ir.to_proto(self.model)
        del proto.graph.initializer[:], proto.graph.value_info[:]
        return f"{onnx.printer.to_text(proto)}\nweights {stored}\ninputs {self.inputs}"


@st.composite
def programs(
    draw: st.DrawFn,
    steps: Mapping[str, Step],
    *,
    required: Collection[str] = (),
    longest: int = 9,
    dtype: npt.DTypeLike = np.float64,
    opsets: Sequence[int] = OPSETS,
    normalized: bool = True,
) -> Case:
    """Draw a graph of up to ``longest`` steps, every other one followed by a BatchNormalization, or by a Mul.

    Branches come from steps that start at an older value, merges from operators of two values, outputs in the middle
    from the draw at the end; what leads to no output is left in the graph now and then.
    """
    builder = Builder(seed=draw(st.integers(0, 2**16)), dtype=dtype, opset=draw(st.sampled_from(opsets)))
    dims = (2, *draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    declared = draw(st.sampled_from([dims, ("N", *dims[1:]), (None, *dims[1:]), _spatial_symbols(dims)]))
    x = Live(builder.input(*declared), dims)
    program = Program(draw, builder, [x], fixed=0 if declared == dims else 1)
    frequent = [name for name in LINEAR if name in steps]
    options = st.sampled_from([*frequent, *sorted(steps), *frequent])
    names = [*required, *draw(st.lists(options, min_size=1, max_size=longest))]
    for name in names:
        _step(program, steps[name], normalized)
    results = program.values[1:] or [program.add(dims, "Relu", x.name)]
    kept = [draw(st.integers(0, 7)) == 7 for _ in results[:-1]]
    outputs = [value.name for value, keep in zip(results, kept, strict=False) if keep]
    outputs = list(dict.fromkeys([*outputs, results[-1].name]))
    if draw(st.integers(0, 7)) < 7:
        builder.drop_dead(outputs)
    try:
        model = builder.model(*outputs)
    except onnx.checker.ValidationError:  # now and then shape inference cannot tell the rank of an output
        reject()
    arrays = random_inputs(model)
    return Case(model, {"x": _sized(arrays["x"], dims)})


def _spatial_symbols(dims: Sequence[int]) -> tuple[Dim, ...]:
    return ("N", *dims[1:2], *(f"D{axis}" for axis in range(2, len(dims))))


def _sized(array: Value, dims: Sequence[int]) -> Value:
    """Return numbers of the type of ``array`` with the extents that the program was built for."""
    return np.random.default_rng(len(dims)).standard_normal(dims).astype(array.dtype)


def _step(program: Program, step: Step, normalized: bool) -> None:
    x = program.value(lambda value: 0 < value.size <= LARGEST)
    if x is None:
        return
    step(program, x)
    newest = program.values[-1]
    if newest.rank >= 2 and newest.size > 0 and program.flag():
        program.batch_norm(newest) if normalized else program.factor(newest)
