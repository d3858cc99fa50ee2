"""One step of a random graph for every operator that the engine has a rule for, and for some that it has none for."""

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from onnx import helper

from tests.folding.strategies import Live, Program, Step

# Linear operators


def conv(p: Program, x: Live) -> None:
    """Conv of any rank, group, stride, dilation and padding."""
    if x.rank < 3:
        return
    group = p.choice(_divisors(x.dims[1]))
    count = group * p.number(1, 3)
    kernel = [p.number(1, min(3, extent)) for extent in x.dims[2:]]
    strides = [p.number(1, 2) for _ in kernel]
    dilations = [p.number(1, 2) if 2 * (k - 1) < extent else 1 for k, extent in zip(kernel, x.dims[2:], strict=True)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
    if p.number(0, 3) == 3 and max(dilations) == 1:
        attributes["auto_pad"] = p.choice(["SAME_UPPER", "SAME_LOWER"])
        spatial = [math.ceil(extent / s) for extent, s in zip(x.dims[2:], strides, strict=True)]
    else:
        pads = [p.number(0, 1) for _ in range(2 * len(kernel))] if p.flag() else [0] * (2 * len(kernel))
        attributes["pads"] = pads
        spatial = _windows(x.dims[2:], reach, strides, pads)
    inputs = [x.name, p.weight(count, x.dims[1] // group, *kernel), *([p.weight(count)] if p.flag() else [])]
    p.add([x.dims[0], count, *spatial], "Conv", *inputs, **attributes)


def conv_transpose(p: Program, x: Live) -> None:
    """ConvTranspose, grouped too, with output padding."""
    if x.rank < 3:
        return
    group = p.choice(_divisors(x.dims[1]))
    per_group = p.number(1, 3)
    kernel = [p.number(1, 2) for _ in x.dims[2:]]
    strides = [p.number(1, 2) for _ in kernel]
    extra = [p.number(0, stride - 1) for stride in strides]
    spatial = [(n - 1) * s + k + e for n, s, k, e in zip(x.dims[2:], strides, kernel, extra, strict=True)]
    inputs = [x.name, p.weight(x.dims[1], per_group, *kernel), *([p.weight(group * per_group)] if p.flag() else [])]
    dims = [x.dims[0], group * per_group, *spatial]
    p.add(dims, "ConvTranspose", *inputs, group=group, strides=strides, output_padding=extra)


def gemm(p: Program, x: Live) -> None:
    """Gemm with alpha, beta, transA and transB, and C of every shape that broadcasts."""
    if x.rank != 2:
        return
    transposed = p.fixed == 0 and p.flag()
    rows, depth = x.dims[::-1] if transposed else x.dims
    count, trans_b = p.number(1, 4), p.number(0, 1)
    inputs = [x.name, p.weight(*((count, depth) if trans_b else (depth, count)))]
    shapes: list[tuple[int, ...]] = [(count,), (1, count), (1,), ()]
    if p.fixed == 0:
        shapes.append((rows, 1))
    if p.flag():
        inputs.append(p.weight(*p.choice(shapes)))
    attributes = {"alpha": p.choice([1.0, 0.5]), "beta": p.choice([1.0, -2.0, 0.0]), "transA": int(transposed)}
    p.add([rows, count], "Gemm", *inputs, transB=trans_b, **attributes)


def matmul(p: Program, x: Live) -> None:
    """MatMul by a weight on the right or on the left, or of two activations; with a bias or without."""
    if x.rank == 0:
        return
    if x.rank == 2 and p.fixed == 0 and p.flag():
        p.add([3, x.dims[1]], "MatMul", p.weight(3, x.dims[0]), x.name)
        return
    if x.rank > 2 and p.flag():
        count = p.number(1, 3)
        p.add([*x.dims[:-2], count, x.dims[-1]], "MatMul", p.weight(count, x.dims[-2]), x.name)
        return
    other = p.value(lambda value: x.rank == value.rank > 2 and value.dims[:-1] == (*x.dims[:-2], x.dims[-1]))
    if other is not None and p.flag():
        p.add([*x.dims[:-1], other.dims[-1]], "MatMul", x.name, other.name)
        return
    count = p.number(1, 4)
    y = p.add([*x.dims[:-1], count], "MatMul", x.name, p.weight(x.dims[-1], count))
    if y.rank and p.flag():
        operands = [y.name, p.weight(count)]
        p.add(y.dims, "Add", *(operands if p.flag() else reversed(operands)))


def einsum(p: Program, x: Live) -> None:
    """Einsum by a weight on either side, along any of x's axes; of two activations, as attention has it; of x alone."""
    letters = "abcd"[: x.rank]
    free = letters[p.fixed :]
    if x.rank > 4 or not free:
        return
    extents = {**dict(zip(letters, x.dims, strict=True)), "z": p.number(1, 3)}
    other = p.value(lambda value: value.rank == x.rank and value.dims[:-1] == x.dims[:-1])
    kind = p.choice(["weight", "weight", "activation", "alone"])
    subscripts, operands = [letters], [x.name]
    if kind == "weight":
        own = p.choice(free)
        subscripts.append("".join(letter for letter in free if letter == own or p.flag()) + ("z" if p.flag() else ""))
        operands.append(p.weight(*(extents[letter] for letter in subscripts[1])))
    elif kind == "activation" and other is not None:
        subscripts.append(letters[:-1] + "z")
        operands.append(other.name)
        extents["z"] = other.dims[-1]
    if p.flag():
        subscripts, operands = subscripts[::-1], operands[::-1]
    named = [letter for letter in free + "z" if any(letter in axes for axes in subscripts)]
    stays = [letter for letter in named if p.number(0, 3) < 3]
    result = [*letters[: p.fixed], *p.builder.generator.permutation(stays).tolist()] if stays else [*letters[: p.fixed]]
    equation = f"{','.join(subscripts)}->{''.join(result)}"
    p.add([extents[letter] for letter in result], "Einsum", *operands, equation=equation)


def recurrent(op_type: str, gates: int) -> Step:
    """Return the step of a recurrent operator: any direction, with a bias or without."""

    def step(p: Program, x: Live) -> None:
        if x.rank == 3:
            direction = p.choice(["forward", "reverse", "bidirectional"])
            count, hidden = 2 if direction == "bidirectional" else 1, p.number(1, 2)
            weights = [p.weight(count, gates * hidden, x.dims[2]), p.weight(count, gates * hidden, hidden)]
            weights += [p.weight(count, 2 * gates * hidden)] if p.flag() else []
            dims = [x.dims[0], count, x.dims[1], hidden]
            p.add(dims, op_type, x.name, *weights, hidden_size=hidden, direction=direction)

    return step


def batch_norm(p: Program, x: Live) -> None:
    """BatchNormalization on the channel axis."""
    if x.rank >= 2:
        p.batch_norm(x)


# Arithmetic


def add(p: Program, x: Live) -> None:
    """Add of a constant or of another value."""
    _arithmetic(p, x, "Add")


def subtract(p: Program, x: Live) -> None:
    """Sub, the constant on either side."""
    _arithmetic(p, x, "Sub")


def multiply(p: Program, x: Live) -> None:
    """Mul by a constant or by another value."""
    _arithmetic(p, x, "Mul")


def divide(p: Program, x: Live) -> None:
    """Div by a constant that is not 0."""
    _constant_operand(p, x, "Div")


def sum_(p: Program, x: Live) -> None:
    """Sum of one to three values."""
    others = [p.value(lambda value: value.dims == x.dims) or x for _ in range(p.number(0, 2))]
    p.add(x.dims, "Sum", x.name, *(other.name for other in others))


def extremum(op_type: str) -> Step:
    """Return the step of Max or Min: of a value with another one, with a constant, or alone."""

    def step(p: Program, x: Live) -> None:
        other = p.value(lambda value: _broadcasts(value.dims, x.dims))
        if other is None or p.flag():
            _constant_operand(p, x, op_type)
        else:
            p.add(x.dims, op_type, x.name, *([other.name] if p.flag() else []))

    return step


def where(p: Program, x: Live) -> None:
    """Where with a constant condition, of a value with another one, with 0 or with another number."""
    shape = [1 if axis < p.fixed or p.flag() else extent for axis, extent in enumerate(x.dims)]
    condition = p.builder.stored(p.builder.generator.random(shape) < 0.5, dtype=np.bool_)
    other = p.value(lambda value: _broadcasts(value.dims, x.dims))
    use = other is not None and p.flag()
    branches = [x.name, other.name if other is not None and use else p.builder.stored(p.choice([0.0, 0.0, 1.0]))]
    p.add(x.dims, "Where", condition, *(branches if p.flag() else reversed(branches)))


# Standardization


def instance_norm(p: Program, x: Live) -> None:
    """InstanceNormalization over more than one position, or it would be constant."""
    if x.rank >= 3 and math.prod(x.dims[2:]) > 1:
        p.add(x.dims, "InstanceNormalization", x.name, p.weight(x.dims[1]), p.weight(x.dims[1]), epsilon=0.25)


def layer_norm(p: Program, x: Live) -> None:
    """LayerNormalization over the last axis, or over the last two; with a bias or without."""
    count = p.number(1, 2)
    if x.rank > count + p.fixed:
        shape = x.dims[-count:]
        inputs = [x.name, p.weight(*shape), *([p.weight(*shape)] if p.flag() else [])]
        p.add(x.dims, "LayerNormalization", *inputs, axis=-count, epsilon=0.25)


def _arithmetic(p: Program, x: Live, op_type: str) -> None:
    other = p.value(lambda value: _broadcasts(value.dims, x.dims))
    if other is None or p.flag():
        _constant_operand(p, x, op_type)
        return
    operands = [x.name, other.name]
    p.add(np.broadcast_shapes(x.dims, other.dims), op_type, *(operands if p.flag() else reversed(operands)))


def _broadcasts(small: Sequence[int], large: Sequence[int]) -> bool:
    """Whether one shape broadcasts to the other without enlarging it."""
    padded = (1,) * (len(large) - len(small)) + tuple(small)
    return len(small) <= len(large) and all(n in {1, m} for n, m in zip(padded, large, strict=True))


def _constant_operand(p: Program, x: Live, op_type: str) -> None:
    """Combine with a constant that varies along any axes, and may enlarge the value where its extent is 1."""
    shape = [extent if extent > 1 and p.flag() else 1 for extent in x.dims]
    if p.fixed and shape:
        shape[0] = 1
    if p.number(0, 7) == 7:
        shape = [
            p.number(1, 3) if extent == 1 and axis >= p.fixed else s for axis, (extent, s) in _pairs(x.dims, shape)
        ]
    if p.number(0, 7) == 7 and p.fixed == 0:
        shape = [1, *shape]
    leading = next((axis for axis, extent in enumerate(shape) if extent > 1), len(shape))
    shape = shape[p.number(0, leading) :]
    uniform = p.number(0, 4) == 4
    array = p.array(*([] if uniform else shape), positive=op_type == "Div")
    constant = p.builder.stored(np.broadcast_to(array, shape))
    operands = [x.name, constant]
    if op_type != "Div" and p.flag():
        operands.reverse()
    p.add(np.broadcast_shapes(x.dims, tuple(shape)), op_type, *operands)


def _pairs(left: Sequence[int], right: Sequence[int]) -> list[tuple[int, tuple[int, int]]]:
    return list(enumerate(zip(left, right, strict=True)))


# Activations


def unary(op_type: str, **attributes: Any) -> Step:
    """Return the step of an operator that works element by element."""

    def step(p: Program, x: Live) -> None:
        p.add(x.dims, op_type, x.name, **attributes)

    return step


def prelu(p: Program, x: Live) -> None:
    """PRelu with a slope along any axes."""
    shape = [1 if axis < p.fixed or p.flag() else extent for axis, extent in enumerate(x.dims)]
    p.add(x.dims, "PRelu", x.name, p.weight(*shape))


def clip(p: Program, x: Live) -> None:
    """Clip from 0, or from another bound, with an upper bound or without."""
    bounds = [
        p.builder.stored(np.array(p.choice([0.0, -1.0]))),
        *([p.builder.stored(np.array(3.0))] if p.flag() else []),
    ]
    p.add(x.dims, "Clip", x.name, *bounds)


def cast(p: Program, x: Live) -> None:
    """Cast to the type that it has."""
    p.add(x.dims, "Cast", x.name, to=helper.np_dtype_to_tensor_dtype(p.builder.dtype))


def dropout(p: Program, x: Live) -> None:
    """Dropout at inference."""
    p.add(x.dims, "Dropout", x.name)


# Pooling


def pool(op_type: str) -> Step:
    """Return the step of a pooling operator: kernels, strides, pads, ceil mode."""

    def step(p: Program, x: Live) -> None:
        if x.rank < 3:
            return
        kernel = [p.number(1, min(3, extent)) for extent in x.dims[2:]]
        strides = [p.number(1, 2) for _ in kernel]
        pads = [p.number(0, 1) if k > 1 else 0 for k in kernel] * 2 if p.flag() else [0] * (2 * len(kernel))
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        if op_type == "AveragePool":
            attributes["count_include_pad"] = p.number(0, 1)
        spatial = _windows(x.dims[2:], kernel, strides, pads)
        p.add([*x.dims[:2], *spatial], op_type, x.name, **attributes)

    return step


def global_pool(op_type: str) -> Step:
    """Return the step of a global pooling operator."""

    def step(p: Program, x: Live) -> None:
        # onnx.reference, and with it the oracle, knows GlobalMaxPool of rank 4 only.
        if x.rank == 4 or (x.rank >= 3 and op_type != "GlobalMaxPool"):
            p.add([*x.dims[:2], *[1] * (x.rank - 2)], op_type, x.name)

    return step


def reduce(op_type: str) -> Step:
    """Return the step of a reduction: any axes but the batch, kept or dropped."""

    def step(p: Program, x: Live) -> None:
        axes = [axis for axis in range(p.fixed, x.rank) if p.flag()]
        if not axes:
            return
        keep = p.number(0, 1)
        dims = [1 if axis in axes else extent for axis, extent in enumerate(x.dims) if keep or axis not in axes]
        written = [axis - x.rank if p.flag() else axis for axis in axes]
        if op_type == "ReduceSum" or p.builder.opset >= 18:
            p.add(dims, op_type, x.name, p.integers(*written), keepdims=keep)
        else:
            p.add(dims, op_type, x.name, axes=written, keepdims=keep)

    return step


# Sampling


def roi_align(p: Program, x: Live) -> None:
    """RoiAlign of two regions that may leave the map, by averages or maxima."""
    if x.rank == 4 and p.fixed == 0:
        regions = p.builder.stored(p.builder.generator.uniform(-1.0, 4.0, (2, 4)))
        images = p.integers(*(p.number(0, x.dims[0] - 1) for _ in range(2)))
        mode = p.choice(["avg", "max"])
        sizes = {"output_height": 2, "output_width": 1, "sampling_ratio": 1}
        p.add([2, x.dims[1], 2, 1], "RoiAlign", x.name, regions, images, mode=mode, **sizes)


def grid_sample(p: Program, x: Live) -> None:
    """GridSample at positions inside and outside of the map."""
    if x.rank == 4 and p.fixed == 0:
        grid = p.builder.stored(p.builder.generator.uniform(-1.5, 1.5, (x.dims[0], 2, 3, 2)))
        attributes = {"mode": p.choice(["bilinear", "nearest"]), "padding_mode": p.choice(["zeros", "border"])}
        p.add([*x.dims[:2], 2, 3], "GridSample", x.name, grid, **attributes)


# Structure


def reshape(p: Program, x: Live) -> None:
    """Reshape: one axis split in two, or two merged; the batch by 0, one extent as −1 or written out."""
    axis = p.fixed if x.rank == p.fixed else p.axis(x)
    if axis >= x.rank:
        return
    if axis + 1 < x.rank and p.flag():
        dims = [*x.dims[:axis], x.dims[axis] * x.dims[axis + 1], *x.dims[axis + 2 :]]
    else:
        part = p.choice(_divisors(x.dims[axis]))
        dims = [*x.dims[:axis], part, x.dims[axis] // part, *x.dims[axis + 1 :]]
    written = list(dims)
    if p.flag():
        written[p.number(p.fixed, len(written) - 1)] = -1
    if p.fixed:
        written[0] = 0
    p.add(dims, "Reshape", x.name, p.integers(*written))


def flatten(p: Program, x: Live) -> None:
    """Flatten behind any axis."""
    axis = p.number(p.fixed, x.rank)
    if p.fixed and axis > 1:
        axis = 1
    p.add([math.prod(x.dims[:axis]), math.prod(x.dims[axis:])], "Flatten", x.name, axis=axis)


def squeeze(p: Program, x: Live) -> None:
    """Squeeze of axes of extent 1."""
    axes = [axis for axis in range(p.fixed, x.rank) if x.dims[axis] == 1 and p.flag()]
    if axes:
        p.add([n for axis, n in enumerate(x.dims) if axis not in axes], "Squeeze", x.name, p.integers(*axes))


def unsqueeze(p: Program, x: Live) -> None:
    """Unsqueeze anywhere."""
    if x.rank < 5:
        axis = p.number(p.fixed, x.rank)
        p.add([*x.dims[:axis], 1, *x.dims[axis:]], "Unsqueeze", x.name, p.integers(axis))


def transpose(p: Program, x: Live) -> None:
    """Transpose by any permutation; none is the reversal."""
    if x.rank == 0:
        return
    if p.fixed == 0 and p.flag():
        p.add(x.dims[::-1], "Transpose", x.name)
        return
    moved = p.builder.generator.permutation(np.arange(p.fixed, x.rank)).tolist()
    perm = [*range(min(p.fixed, x.rank)), *moved]
    p.add([x.dims[axis] for axis in perm], "Transpose", x.name, perm=perm)


def expand(p: Program, x: Live) -> None:
    """Expand of axes of extent 1, and of the rank where the batch is static."""
    dims = [p.number(1, 3) if n == 1 and axis >= p.fixed else n for axis, n in enumerate(x.dims)]
    shape = [1 if axis < p.fixed else n for axis, n in enumerate(dims)]
    if p.fixed == 0 and x.rank < 5 and p.flag():
        dims, shape = [2, *dims], [2, *shape]
    p.add(dims, "Expand", x.name, p.integers(*shape))


def computed_shape(p: Program, x: Live) -> None:
    """Reshape of a value to its own shape, which the graph computes."""
    p.add(x.dims, "Reshape", x.name, p.builder("Shape", x.name))


def tile(p: Program, x: Live) -> None:
    """Tile along any axes but the batch."""
    repeats = [1 if axis < p.fixed else p.number(1, 2) for axis in range(x.rank)]
    p.add([n * r for n, r in zip(x.dims, repeats, strict=True)], "Tile", x.name, p.integers(*repeats))


def concat(p: Program, x: Live) -> None:
    """Concat of values that agree off the axis."""
    if x.rank <= p.fixed:
        return
    axis = p.axis(x)

    def fits(value: Live) -> bool:
        return value.rank == x.rank and all(i == axis or n == m for i, (n, m) in _pairs(value.dims, x.dims))

    others = [p.value(fits) or x for _ in range(p.number(1, 2))]
    extent = sum(value.dims[axis] for value in (x, *others))
    names = [x.name, *(other.name for other in others)]
    p.add([*x.dims[:axis], extent, *x.dims[axis + 1 :]], "Concat", *names, axis=axis - x.rank if p.flag() else axis)


def split(p: Program, x: Live) -> None:
    """Split in two along an axis."""
    axes = [axis for axis in range(p.fixed, x.rank) if x.dims[axis] > 1]
    if not axes:
        return
    axis = p.choice(axes)
    first = p.number(1, x.dims[axis] - 1)
    parts = [first, x.dims[axis] - first]
    p.builder("Split", x.name, p.integers(*parts), outputs=2, axis=axis)
    for name, extent in zip(p.builder.last_outputs(), parts, strict=True):
        p.values.append(Live(name, (*x.dims[:axis], extent, *x.dims[axis + 1 :])))


def slice_(p: Program, x: Live) -> None:
    """Slice along one axis, forwards or backwards."""
    if x.rank <= p.fixed:
        return
    axis = p.axis(x)
    extent = x.dims[axis]
    start, step = p.number(0, extent - 1), p.choice([1, 2, -1, -2])
    end = extent if step > 0 else -(2**31)
    count = len(range(start, extent, step)) if step > 0 else len(range(start, -1, step))
    arguments = [p.integers(number) for number in (start, end, axis, step)]
    p.add([*x.dims[:axis], count, *x.dims[axis + 1 :]], "Slice", x.name, *arguments)


def gather(p: Program, x: Live) -> None:
    """Gather by constant indices, in any order and twice, negative ones too; or by one index, which drops the axis."""
    if x.rank <= p.fixed:
        return
    axis = p.axis(x)
    indices = [p.number(-x.dims[axis], x.dims[axis] - 1) for _ in range(p.number(1, 3))]
    if p.flag():
        constant = p.builder.stored(indices[0], dtype=np.int64)
        p.add([*x.dims[:axis], *x.dims[axis + 1 :]], "Gather", x.name, constant, axis=axis)
    else:
        dims = [*x.dims[:axis], len(indices), *x.dims[axis + 1 :]]
        p.add(dims, "Gather", x.name, p.integers(*indices), axis=axis)


def pad(p: Program, x: Live) -> None:
    """Pad by reflection, edge, zeros or another number, along any axes but the batch."""
    if x.rank == 0:
        return
    mode = p.choice(["constant", "reflect", "edge"])
    widest = [0 if axis < p.fixed or (mode == "reflect" and n < 2) else 1 for axis, n in enumerate(x.dims)]
    before, after = ([p.number(0, most) for most in widest] for _ in range(2))
    inputs = [x.name, p.integers(*before, *after)]
    if mode == "constant" and p.flag():
        inputs.append(p.builder.stored(np.array(p.choice([0.0, 1.0]))))
    dims = [n + b + a for n, b, a in zip(x.dims, before, after, strict=True)]
    p.add(dims, "Pad", *inputs, mode=mode)


def depth_to_space(p: Program, x: Live) -> None:
    """DepthToSpace in both orders."""
    if x.rank == 4 and x.dims[1] % 4 == 0:
        dims = [x.dims[0], x.dims[1] // 4, 2 * x.dims[2], 2 * x.dims[3]]
        p.add(dims, "DepthToSpace", x.name, blocksize=2, mode=p.choice(["DCR", "CRD"]))


def space_to_depth(p: Program, x: Live) -> None:
    """SpaceToDepth."""
    if x.rank == 4 and x.dims[2] % 2 == 0 and x.dims[3] % 2 == 0:
        dims = [x.dims[0], 4 * x.dims[1], x.dims[2] // 2, x.dims[3] // 2]
        p.add(dims, "SpaceToDepth", x.name, blocksize=2)


def resize(p: Program, x: Live) -> None:
    """Resize of any axes but the batch, nearest or linear."""
    factors = [1 if axis < p.fixed else p.number(1, 2) for axis in range(x.rank)]
    scales = p.builder.stored(np.array(factors), dtype=np.float32)
    dims = [n * factor for n, factor in zip(x.dims, factors, strict=True)]
    attributes = {"mode": p.choice(["nearest", "linear"]), "coordinate_transformation_mode": "asymmetric"}
    p.add(dims, "Resize", x.name, None, scales, **attributes)


def _divisors(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0]


def _windows(spatial: Sequence[int], reach: Sequence[int], strides: Sequence[int], pads: Sequence[int]) -> list[int]:
    half = len(spatial)
    sides = zip(spatial, reach, strides, pads[:half], pads[half:], strict=True)
    return [(n + first + last - r) // s + 1 for n, r, s, first, last in sides]


STEPS: MappingProxyType[str, Step] = MappingProxyType(
    {
        "Shape": computed_shape,
        "Conv": conv,
        "ConvTranspose": conv_transpose,
        "Gemm": gemm,
        "MatMul": matmul,
        "Einsum": einsum,
        "LSTM": recurrent("LSTM", 4),
        "GRU": recurrent("GRU", 3),
        "RNN": recurrent("RNN", 1),
        "BatchNormalization": batch_norm,
        "Add": add,
        "Sub": subtract,
        "Mul": multiply,
        "Div": divide,
        "Sum": sum_,
        "Neg": unary("Neg"),
        "Max": extremum("Max"),
        "Min": extremum("Min"),
        "Where": where,
        "InstanceNormalization": instance_norm,
        "LayerNormalization": layer_norm,
        "Abs": unary("Abs"),
        "Relu": unary("Relu"),
        "LeakyRelu": unary("LeakyRelu", alpha=0.25),
        "PRelu": prelu,
        "Clip": clip,
        "MaxPool": pool("MaxPool"),
        "GlobalMaxPool": global_pool("GlobalMaxPool"),
        "AveragePool": pool("AveragePool"),
        "GlobalAveragePool": global_pool("GlobalAveragePool"),
        "LpPool": pool("LpPool"),
        "ReduceL1": reduce("ReduceL1"),
        "ReduceL2": reduce("ReduceL2"),
        "ReduceMean": reduce("ReduceMean"),
        "ReduceMax": reduce("ReduceMax"),
        "ReduceMin": reduce("ReduceMin"),
        "ReduceSum": reduce("ReduceSum"),
        "RoiAlign": roi_align,
        "GridSample": grid_sample,
        "Identity": unary("Identity"),
        "Cast": cast,
        "Dropout": dropout,
        "Reshape": reshape,
        "Flatten": flatten,
        "Squeeze": squeeze,
        "Unsqueeze": unsqueeze,
        "Transpose": transpose,
        "Expand": expand,
        "Tile": tile,
        "Concat": concat,
        "Split": split,
        "Slice": slice_,
        "Gather": gather,
        "Pad": pad,
        "DepthToSpace": depth_to_space,
        "SpaceToDepth": space_to_depth,
        "Resize": resize,
    }
)
"""Operator with a rule → step. `Upsample`, which no opset from 10 on has, is in a test of its own."""

STRANGERS: MappingProxyType[str, Step] = MappingProxyType(
    {
        "Sigmoid": unary("Sigmoid"),
        "Sin": unary("Sin"),
        "Softmax": unary("Softmax"),
    }
)
"""Operators without a rule."""
