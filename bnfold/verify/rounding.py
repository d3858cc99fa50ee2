"""How far one rounding of every weight moves the outputs: the yardstick for what precision alone can do.

A folded weight is computed in double and rounded once, to its own type; a product w·x in that type rounds once more,
which is to first order the same as a rounding of w. Evaluating the graph in double with every weight moved by a random
half unit in its last place therefore measures, on this graph and these inputs, with its fan-in, its depth and its
conditioning, what the folding's own roundings may do. No formula with a guessed constant takes their place.
"""

from collections.abc import Iterator, Mapping

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

MANY = 1000
"""Numbers of an output that two roundings have to move for those two to do.

The root mean square of n of them is known to about 1/√(2n): the draws of ResNet-50, each over 1000 logits, differ by
4 %, where the limit that they count in has a factor of 8. Numbers that few weights make move together, and tell less;
of those the original's own error tells too, which stands beside this in the limit.
"""

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


class RoundedAgain(Mapping[str, Array]):
    """Every weight of a model as double, each number moved by up to half a unit in its last place.

    w' = w·(1 + u·r), r uniform in [−1, 1], with the unit roundoff u of ``dtype``, by default of the type that the
    weight is stored in. A weight is made when it is asked for, the same each time: all of them together take as long to
    find memory for as to compute. The r come from one stock, which every weight begins to read at another place.
    """

    def __init__(self, model: ir.Model, generator: np.random.Generator, dtype: ir.DataType | None = None) -> None:
        self._weights = {
            name: value.const_value
            for name, value in model.graph.initializers.items()
            if value.const_value is not None and value.dtype in UNIT_ROUNDOFF and _is_weight(value)
        }
        numbers = generator.uniform(-1, 1, _STOCK)
        self._places = dict(zip(self._weights, generator.integers(_STOCK, size=len(self._weights)), strict=True))
        self._roundoffs = {name: UNIT_ROUNDOFF[dtype or weight.dtype] for name, weight in self._weights.items()}
        self._factors = {roundoff: 1 + roundoff * numbers for roundoff in set(self._roundoffs.values())}

    def __getitem__(self, name: str) -> Array:
        weight, factors = self._weights[name].numpy(), self._factors[self._roundoffs[name]]
        moved = np.empty(weight.shape)
        source, target = np.ravel(weight), moved.reshape(-1)
        done, place = 0, int(self._places[name])
        while done < target.size:
            count = min(target.size - done, _STOCK - place)
            part = slice(done, done + count)
            np.multiply(source[part], factors[place : place + count], out=target[part], dtype=np.float64)
            done, place = done + count, 0
        return moved

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


_STOCK = 2**20


def _is_weight(value: ir.Value) -> bool:
    return all(
        node.op_type not in _EXACT and (node.op_type not in _LAYOUT or all(map(_is_weight, node.outputs)))
        for node in value.consumers()
    )
