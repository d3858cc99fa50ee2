"""Activations in float64, by the names that recurrent and fused operators have for them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bnfold.errors import InputError
from bnfold.verify.oracle.types import Array

Activation = Callable[[Array], Array]


def relu(x: Array) -> Array:
    """Return max(x, 0) (ONNX Relu-6 to -14); NaN stays."""
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    """Return 1/(1 + e^−x), without overflow."""
    return (1 + np.tanh(x / 2)) / 2


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_FORMULAS: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "affine": (lambda x, alpha, beta: alpha * x + beta, (1.0, 0.0)),
    "clip": (lambda x, low, high: np.clip(x, low, high), (-np.inf, np.inf)),
    "elu": (_elu, (1.0,)),
    "hardsigmoid": (lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), (0.2, 0.5)),
    "leakyrelu": (lambda x, alpha: np.where(x < 0, alpha * x, x), (0.01,)),
    "relu": (relu, ()),
    "scaledtanh": (lambda x, alpha, beta: alpha * np.tanh(beta * x), (1.0, 1.0)),
    "sigmoid": (sigmoid, ()),
    "softplus": (_softplus, ()),
    "softsign": (lambda x: x / (1 + np.abs(x)), ()),
    "tanh": (np.tanh, ()),
    "thresholdedrelu": (lambda x, alpha: np.where(x > alpha, x, 0.0), (1.0,)),
}
"""Name in lower case → formula of x and its parameters α, β, and what those are by default."""


def activation(name: str, parameters: Sequence[float] = ()) -> Activation:
    """Return the function of that name, in any case; ``parameters`` replace the first of its defaults.

    Raises:
        InputError: there is none of that name.
    """
    if name.lower() not in _FORMULAS:
        raise InputError(f"unknown activation {name}; known are {', '.join(_FORMULAS)}")
    formula, defaults = _FORMULAS[name.lower()]
    values = (*parameters, *defaults[len(parameters) :])[: len(defaults)]
    return lambda x: formula(x, *values)


def activations(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> Iterator[Activation]:
    """Yield the functions of ``names``; those that have an α, or a β, take the next of ``alphas``, or of ``betas``."""
    alpha, beta = iter(alphas), iter(betas)
    for name in names:
        _, defaults = _FORMULAS.get(name.lower(), (None, ()))
        given = [next(source, default) for source, default in zip((alpha, beta), defaults, strict=False)]
        yield activation(name, given)
