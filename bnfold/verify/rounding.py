"""How far one rounding of every weight moves the outputs: the yardstick for what precision alone can do.

A folded weight is computed in double and rounded once, to its own type; a product w·x in that type rounds once more,
which is to first order the same as a rounding of w. Evaluating the graph in double with every weight moved by a random
half unit in its last place therefore measures, on this graph and these inputs, with its fan-in, its depth and its
conditioning, what the folding's own roundings may do. No formula with a guessed constant takes their place.
"""

import numpy as np
import onnx_ir as ir

from bnfold.verify.oracle import Array

UNIT_ROUNDOFF = {
    ir.DataType.BFLOAT16: 2.0**-8,
    ir.DataType.FLOAT16: 2.0**-11,
    ir.DataType.FLOAT: 2.0**-24,
    ir.DataType.DOUBLE: 2.0**-53,
}
"""Largest relative error of rounding to nearest, u = 2^−p for a significand of p bits."""

ROUNDING_DRAWS = 4
"""Random roundings of the weights that are pooled: one alone may by chance leave an output of few weights in place."""

_EXACT = frozenset(
    {
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        *(
            "AffineGrid",
            "Dropout",
            "GridSample",
            "NonMaxSuppression",
            "OneHot",
            "Pow",
            "Range",
            "Resize",
            "RoiAlign",
            "Upsample",
        ),
        *("DequantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear"),
    }
)
"""Operators that read numbers which are no weights: thresholds, positions, factors of extents, exponents, steps."""

_LAYOUT = frozenset({"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that constants pass through, unchanged in value."""


def precision(model: ir.Model) -> ir.DataType:
    """Return the coarsest floating-point type that ``model`` stores a weight in (float32 where it stores none)."""
    types = {value.dtype for value in (*model.graph.initializers.values(), *model.graph.outputs)}
    return max(UNIT_ROUNDOFF.keys() & types, key=UNIT_ROUNDOFF.__getitem__, default=ir.DataType.FLOAT)


def rounded_again(
    model: ir.Model, generator: np.random.Generator, dtype: ir.DataType | None = None
) -> dict[str, Array]:
    """Return every weight of ``model`` as double, each number moved by up to half a unit in its last place.

    w' = w·(1 + u·r), r uniform in [−1, 1], with the unit roundoff u of ``dtype``, by default of the type that the
    weight is stored in.
    """
    draws = _Draws(generator)
    return {
        name: draws.moved(value.const_value, UNIT_ROUNDOFF[dtype or value.const_value.dtype])
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.dtype in UNIT_ROUNDOFF and _is_weight(value)
    }


_STOCK = 2**20


class _Draws:
    """Random factors 1 + u·r from a stock that every weight begins to read at another place: drawing takes longest."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._numbers = generator.uniform(-1, 1, _STOCK)
        self._factors: dict[float, Array] = {}

    def moved(self, weight: ir.TensorProtocol, roundoff: float) -> Array:
        """Return a copy of ``weight`` as double, each number times a factor of its own."""
        factors = self._factors.setdefault(roundoff, 1 + roundoff * self._numbers)
        moved = np.array(weight.numpy(), np.float64, order="C")
        flat, done, place = moved.reshape(-1), 0, int(self._generator.integers(_STOCK))
        while done < flat.size:
            count = min(flat.size - done, _STOCK - place)
            flat[done : done + count] *= factors[place : place + count]
            done, place = done + count, 0
        return moved


def _is_weight(value: ir.Value) -> bool:
    return all(
        node.op_type not in _EXACT and (node.op_type not in _LAYOUT or all(map(_is_weight, node.outputs)))
        for node in value.consumers()
    )
