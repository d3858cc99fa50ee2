"""Operators of ONNX Runtime's own domain that its optimizer puts into the graphs that it saves, in float64.

Those of its *layout* optimizations (domain ``com.microsoft.nchwc``) are not among them: they hold weights in blocks
that fit one processor, and no other runtime takes such a file.
"""

from collections.abc import Sequence
from math import erf, sqrt
from typing import Any

import numpy as np

from bnfold.verify.oracle.activations import activation as activation_of
from bnfold.verify.oracle.activations import sigmoid
from bnfold.verify.oracle.linear import conv
from bnfold.verify.oracle.normalization import layer_norm
from bnfold.verify.oracle.types import Array, Value

_erf = np.vectorize(erf, otypes=[np.float64])


def fused_conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    summand: Array | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    **attributes: Any,
) -> Array:
    """Return f(conv(x) + summand)."""
    y = conv(x, weight, bias, **attributes)
    return _activated(y if summand is None else y + summand, activation, activation_params)


def nhwc_fused_conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    summand: Array | None = None,
    **attributes: Any,
) -> Array:
    """Return the same of x (N, *spatial, C), with weights as ever."""
    first = None if summand is None else np.moveaxis(summand, -1, 1)
    return np.moveaxis(fused_conv(np.moveaxis(x, -1, 1), weight, bias, first, **attributes), 1, -1)


def fused_gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """Return f(α·a·b + β·c), either matrix transposed where the attributes say so."""
    y = alpha * (a.T if transA else a) @ (b.T if transB else b)
    parameters = [value for value in (activation_alpha, activation_beta) if value is not None]
    return _activated(y if c is None else y + beta * c, activation, parameters)


def fused_mat_mul(
    a: Array,
    b: Array,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Array:
    """Return α·a·b; ``transBatch`` brings the axis before the last behind the first one that counts batches."""
    operands = ((a, transA, transBatchA), (b, transB, transBatchB))
    left, right = (_transposed(x, swapped=bool(swap), batch=bool(batch)) for x, swap, batch in operands)
    return alpha * np.matmul(left, right)


def _transposed(x: Array, *, swapped: bool, batch: bool) -> Array:
    if batch and x.ndim > 2:
        x = np.moveaxis(x, 0, -2)
    return x.swapaxes(-1, -2) if swapped and x.ndim > 1 else x


def gelu(x: Array) -> Array:
    """Return x·Φ(x), with the distribution of the normal."""
    return x * (1 + _erf(x / sqrt(2))) / 2


def bias_gelu(x: Array, bias: Array) -> Array:
    """Return gelu(x + bias)."""
    return gelu(x + bias)


def fast_gelu(x: Array, bias: Array | None = None) -> Array:
    """Return the approximation by a hyperbolic tangent that is meant by the name, of x + bias."""
    x = x if bias is None else x + bias
    return x / 2 * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def quick_gelu(x: Array, *, alpha: float = 1.702) -> Array:
    """Return x/(1 + e^−αx); with α = 1 also called Swish."""
    return x * sigmoid(alpha * x)


def skip_layer_normalization(
    x: Array,
    skip: Array,
    gamma: Array,
    beta: Array | None = None,
    bias: Array | None = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[Value, ...]:
    """Return γ·(s − mean)/√(Var + ε) + β over the last axis of s = x + skip + bias, then mean, 1/√(Var + ε) and s."""
    total = x + skip if bias is None else x + skip + bias
    return *layer_norm(total, gamma, beta, epsilon=epsilon), total


def _activated(y: Array, name: str, parameters: Sequence[float]) -> Array:
    return activation_of(name, parameters)(y) if name else y
