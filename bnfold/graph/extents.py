"""Extents in terms of those of the inputs, where shape inference loses track of them.

Behind a Resize by scales, or a Reshape with -1, inference makes up a new name for what is the batch again. With numbers
it loses nothing. So the free extents of the inputs are given numbers, twice, primes larger than any extent of a
network: what comes out as k times one of them both times is k times that extent. A runtime that knows two extents to be
equal fuses what it could not fuse otherwise.

Nothing is said of an extent that is the same number both times: a Slice may have cut it, and a smaller input have less.
"""

import math
from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes import common as passes

from bnfold.graph.shapes import Dims, dims_of

_LARGE = 2**20
"""What the primes are larger than: no constant of a network cuts such an extent, or is a multiple of it; and products
of three of them still fit the integers of shapes."""


def name_extents(model: ir.Model) -> None:
    """Name extents of results in the main graph after those of its inputs, in place, where that can be told.

    Shapes are to have been inferred; what is a number, or named after an input already, stays as it is.
    """
    inputs = [dims_of(value.shape) for value in model.graph.inputs if value.shape is not None]
    symbols = tuple(dict.fromkeys(dim for dims in inputs for dim in dims if isinstance(dim, str)))
    unnamed = [value for value in _results(model.graph) if not _is_named(value.shape, symbols)]
    if not symbols or not unnamed:
        return
    primes = _primes(2 * len(symbols))
    probes = [dict(zip(symbols, part, strict=True)) for part in (primes[::2], primes[1::2])]
    found = [_shapes_at(model, probe) for probe in probes]
    for value in unnamed:
        first, second = (shapes.get(value.name or "") for shapes in found)
        if first is None or second is None:
            continue
        before = (None,) * len(first) if value.shape is None else dims_of(value.shape)
        if len(before) == len(first) == len(second):
            pairs = zip(first, second, strict=True)
            names = [_named(pair, probes) for pair in pairs]
            value.shape = ir.Shape(
                [dim if _is_settled(dim, symbols) else name or dim for dim, name in zip(before, names, strict=True)]
            )


def _is_settled(dim: int | str | None, symbols: tuple[str, ...]) -> bool:
    return isinstance(dim, int) or dim in symbols


def _results(graph: ir.Graph) -> list[ir.Value]:
    return [value for node in graph for value in node.outputs if value.name]


def _is_named(shape: ir.Shape | None, symbols: tuple[str, ...]) -> bool:
    return shape is not None and all(_is_settled(dim, symbols) for dim in dims_of(shape))


def _shapes_at(model: ir.Model, extents: Mapping[str, int]) -> dict[str, Dims]:
    """Return the shapes of all results where the free extents of the inputs are the given numbers, by name."""
    clone = model.clone()
    for value in clone.graph.inputs:
        if value.shape is not None:
            value.shape = ir.Shape(
                [extents.get(dim, dim) if isinstance(dim, str) else dim for dim in dims_of(value.shape)]
            )
    for node in clone.graph.all_nodes():
        for output in node.outputs:
            output.shape = None
    passes.ShapeInferencePass(check_type=False, strict_mode=False)(clone)
    return {str(value.name): dims_of(value.shape) for value in _results(clone.graph) if value.shape is not None}


def _named(pair: tuple[int | str | None, ...], probes: list[dict[str, int]]) -> str | None:
    """Return what an extent is that was inferred from each probe: a symbol, or a multiple of one; None if neither."""
    for symbol in probes[0]:
        primes = [probe[symbol] for probe in probes]
        factors = {divmod(dim, prime) for dim, prime in zip(pair, primes, strict=True) if isinstance(dim, int)}
        if len(factors) == 1 and all(isinstance(dim, int) for dim in pair):
            ((factor, rest),) = factors
            if factor and not rest:
                return symbol if factor == 1 else f"{factor}*{symbol}"
    return None


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = _LARGE + 1
    while len(found) < count:
        if all(candidate % divisor for divisor in range(3, math.isqrt(candidate) + 1, 2)):
            found.append(candidate)
        candidate += 2
    return found
