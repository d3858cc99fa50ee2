"""Recurrent operators in float64: LSTM, GRU and RNN, of either direction or both, with all that their attributes say.

``x`` is (T, N, I), the weights are (D, gates·H, I) and (D, gates·H, H), the bias (D, 2·gates·H), the states (D, N, H);
``y`` is (T, D, N, H). With ``layout`` 1 the axis N comes first in x, y and the states. A sequence that is shorter than
T ends the state there, and gives zeros behind it. ONNX LSTM-7, -14 and -22, GRU and RNN alike. The reference
implementation leaves out lengths, clipping and most activations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnfold.verify.oracle.activations import Activation, activations
from bnfold.verify.oracle.types import Array, Value

State = tuple[Array, ...]
"""H, and of an LSTM also C, each (N, H)."""


@dataclass(frozen=True)
class _Weights:
    """One direction: what a cell sees of its operator, transposed for products from the left."""

    w: Array
    r: Array
    w_bias: Array
    r_bias: Array
    peepholes: Array | None
    functions: tuple[Activation, ...]
    clip: Callable[[Array], Array]


Cell = Callable[[Array, State, _Weights], State]
"""A step: W·x with its bias, (N, gates·H), and the state before it, to the state behind it."""


def lstm(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None = None,
    lengths: Value | None = None,
    h: Array | None = None,
    c: Array | None = None,
    peepholes: Array | None = None,
    *,
    input_forget: int | None = 0,
    **attributes: Any,
) -> tuple[Value, ...]:
    """Return y, the last H and the last C: i, f, o = f(·), C = f⊙C + i⊙g(·), H = o⊙h(C); gate order i, o, f, c."""

    def cell(projected: Array, state: State, weights: _Weights) -> State:
        h, c = state
        i, o, f, g = np.split(projected + h @ weights.r + weights.r_bias, 4, axis=1)
        to_i, to_o, to_f = (0.0, 0.0, 0.0) if weights.peepholes is None else np.split(weights.peepholes, 3)
        gate, candidate, squash = weights.functions
        i = gate(weights.clip(i + to_i * c))
        f = 1 - i if input_forget else gate(weights.clip(f + to_f * c))
        c = f * c + i * candidate(weights.clip(g))
        return gate(weights.clip(o + to_o * c)) * squash(c), c

    return _recurrent(cell, ("Sigmoid", "Tanh", "Tanh"), 4, x, w, r, bias, lengths, (h, c), peepholes, **attributes)


def gru(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None = None,
    lengths: Value | None = None,
    h: Array | None = None,
    *,
    linear_before_reset: int | None = 0,
    **attributes: Any,
) -> tuple[Value, ...]:
    """Return y and the last H: z, r = f(·), H = (1 − z)⊙g(·) + z⊙H; gates in the order z, r, h."""

    def cell(projected: Array, state: State, weights: _Weights) -> State:
        (h,) = state
        split = projected.shape[1] // 3 * 2
        recurrent = h @ weights.r[:, :split] + weights.r_bias[:split]
        gate, candidate = weights.functions
        z, reset = np.split(gate(weights.clip(projected[:, :split] + recurrent)), 2, axis=1)
        r, r_bias = weights.r[:, split:], weights.r_bias[split:]
        memory = reset * (h @ r + r_bias) if linear_before_reset else (reset * h) @ r + r_bias
        return ((1 - z) * candidate(weights.clip(projected[:, split:] + memory)) + z * h,)

    return _recurrent(cell, ("Sigmoid", "Tanh"), 3, x, w, r, bias, lengths, (h,), None, **attributes)


def rnn(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None = None,
    lengths: Value | None = None,
    h: Array | None = None,
    **attributes: Any,
) -> tuple[Value, ...]:
    """Return y and the last H: H = f(W·x + R·H + both biases)."""

    def cell(projected: Array, state: State, weights: _Weights) -> State:
        (function,) = weights.functions
        return (function(weights.clip(projected + state[0] @ weights.r + weights.r_bias)),)

    return _recurrent(cell, ("Tanh",), 1, x, w, r, bias, lengths, (h,), None, **attributes)


def _recurrent(
    cell: Cell,
    defaults: tuple[str, ...],
    gates: int,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Value | None,
    states: Sequence[Array | None],
    peepholes: Array | None,
    *,
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    direction: str | None = "forward",
    hidden_size: int | None = None,  # noqa: ARG001  (an extent of r)
    layout: int | None = 0,
    output_sequence: int | None = 0,  # noqa: ARG001  (of opsets below 7)
) -> tuple[Value, ...]:
    """Run ``cell`` along the steps, one direction after the other."""
    if layout:
        x, states = x.swapaxes(0, 1), [None if state is None else state.swapaxes(0, 1) for state in states]
    steps, samples, _ = x.shape
    directions, hidden = len(w), r.shape[2]
    names = tuple(activations or defaults * directions)
    functions = tuple(_functions(names, activation_alpha, activation_beta))
    bound = (lambda values: np.clip(values, -clip, clip)) if clip else (lambda values: values)
    ends = np.full(samples, steps) if lengths is None else lengths.astype(np.int64)
    begin = [np.zeros((directions, samples, hidden)) if state is None else state for state in states]
    bias = np.zeros((directions, 2 * gates * hidden)) if bias is None else bias
    y, last = np.zeros((steps, directions, samples, hidden)), [state.copy() for state in begin]
    for d in range(directions):
        own = functions[d * len(defaults) : (d + 1) * len(defaults)]
        w_bias, r_bias = np.split(bias[d], 2)
        weights = _Weights(w[d].T, r[d].T, w_bias, r_bias, None if peepholes is None else peepholes[d], own, bound)
        _run(
            cell,
            x @ weights.w + w_bias,
            weights,
            ends,
            y[:, d],
            [state[d] for state in last],
            d or direction == "reverse",
        )
    if layout:
        return y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in last)
    return y, *last


def _functions(names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None) -> list[Activation]:
    return list(activations(names, alphas or (), betas or ()))


def _run(
    cell: Cell, projected: Array, weights: _Weights, ends: Value, y: Array, state: Sequence[Array], backward: object
) -> None:
    """Fill ``y`` (T, N, H) and bring ``state`` to its end, in place; backward means from each sequence's own end."""
    samples = np.arange(len(ends))
    for step in range(len(projected)):
        running = step < ends
        at = np.where(running, ends - 1 - step, 0) if backward else np.full(len(ends), step)
        after = cell(projected[at, samples], tuple(state), weights)
        for part, new in zip(state, after, strict=True):
            part[running] = new[running]
        y[at[running], samples[running]] = state[0][running]
