"""Coarser arithmetic, emulated in double: what a device would return that rounds where it should not.

- TF32: the operands of matrix products and convolutions keep 10 bits of their mantissa; sums stay exact. NVIDIA's
  tensor cores do so with float32 data unless they are told not to.
- float16, bfloat16: every weight and every result of a node is rounded to the type.

The emulation is a fingerprint: errors of a run that has rounded in the same places are the same errors, not only of
the same size.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from bnfold.verify.oracle import Array, Value
from bnfold.verify.oracle.evaluator import Hook, Step

TF32_BITS = 10
"""Bits of the mantissa of TF32, the leading one not counted: unit roundoff 2⁻¹¹."""

TF32_OPERATORS = frozenset({"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"})


class Arithmetic(StrEnum):
    """What a run may have computed in, other than its own type."""

    TF32 = "TF32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


def emulating(arithmetic: Arithmetic) -> Hook:
    """Return the hook under which an oracle's ``run`` computes in ``arithmetic``."""
    if arithmetic is Arithmetic.TF32:
        return _tf32
    return rounding_to(ir.DataType.FLOAT16 if arithmetic is Arithmetic.FLOAT16 else ir.DataType.BFLOAT16)


def rounding_to(dtype: ir.DataType) -> Hook:
    """Return the hook under which an oracle's ``run`` rounds every weight and every result of a node to ``dtype``."""
    return _narrow(lambda array: array.astype(dtype.numpy()).astype(np.float64))


def tf32(values: Array) -> Array:
    """Return ``values`` rounded to nearest at 10 bits of mantissa, ties to even; infinities and NaN stay."""
    mantissa, exponent = np.frexp(values)  # |mantissa| in [½, 1): the leading bit and 10 more make 11
    return np.ldexp(np.rint(np.ldexp(mantissa, TF32_BITS + 1)), exponent - TF32_BITS - 1)


def _tf32(step: Step, results: dict[str, Value]) -> Mapping[str, Value]:
    if step.op_type not in TF32_OPERATORS:
        return results
    operands = step.inputs[:2]  # the bias is added in full
    return step.again({name: tf32(step.value(name)) for name in operands})


def _narrow(rounded: Callable[[Array], Array]) -> Hook:
    def hook(step: Step, _: dict[str, Value]) -> Mapping[str, Value]:
        stored = {name: _if_float(step.value(name), rounded) for name in step.inputs if name}
        return {name: _if_float(value, rounded) for name, value in step.again(stored).items()}

    return hook


def _if_float(value: Value, rounded: Callable[[Array], Array]) -> Value:
    with np.errstate(over="ignore"):
        return rounded(value) if value.dtype == np.float64 else value
