"""Recurrent operators against ONNX Runtime: lengths, directions, clipping, activations, peepholes, and torch."""

from typing import Any

import numpy as np
import pytest

from tests.verify.oracle.nodes import by_oracle, by_runtime, normal, one_node

STEPS, SAMPLES, WIDTH, HIDDEN = 6, 3, 4, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def operands(op_type: str, direction: str, *, lengths: bool) -> dict[str, Any]:
    """Return weights and sequences; their lengths differ where that is asked for."""
    gates, d = GATES[op_type], DIRECTIONS[direction]
    found: dict[str, Any] = {
        "x": normal(STEPS, SAMPLES, WIDTH),
        "w": normal(d, gates * HIDDEN, WIDTH, seed=1),
        "r": normal(d, gates * HIDDEN, HIDDEN, seed=2),
        "b": normal(d, 2 * gates * HIDDEN, seed=3),
    }
    if lengths:
        found |= {"lengths": np.array([6, 2, 4], np.int32), "h": normal(d, SAMPLES, HIDDEN, seed=4)}
    return found


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op_type", GATES)
def test_directions_and_lengths(op_type: str, direction: str, lengths: bool) -> None:
    """Backwards means from each sequence's own end; behind it there are zeros, and the state stays."""
    inputs = operands(op_type, direction, lengths=lengths)
    outputs = ("y", "last", "cell") if op_type == "LSTM" else ("y", "last")
    proto = one_node(op_type, inputs, outputs=outputs, hidden_size=HIDDEN, direction=direction)
    for ours, theirs in zip(by_oracle(proto, inputs), by_runtime(proto, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        (
            "LSTM",
            {
                "activations": ["HardSigmoid", "Softsign", "ScaledTanh"],
                "activation_alpha": [0.3, 1.5],
                "activation_beta": [0.45, 1.2],
                "clip": 0.7,
            },
        ),
        ("LSTM", {"input_forget": 1}),
        ("GRU", {"activations": ["HardSigmoid", "Elu"], "activation_alpha": [0.25, 0.5], "activation_beta": [0.4]}),
        ("GRU", {"linear_before_reset": 1, "clip": 0.5}),
        ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.2]}),
        ("RNN", {"activations": ["Softsign"]}),
    ],
)
def test_attributes(op_type: str, attributes: dict[str, Any]) -> None:
    """What the attributes say about activations and gates is followed."""
    inputs = operands(op_type, "forward", lengths=False)
    proto = one_node(op_type, inputs, hidden_size=HIDDEN, **attributes)
    (ours,), (theirs,) = by_oracle(proto, inputs), by_runtime(proto, inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op_type", GATES)
def test_samples_first(op_type: str) -> None:
    """Layout 1 is layout 0 with the first two axes exchanged; ONNX Runtime has it not."""
    inputs = operands(op_type, "bidirectional", lengths=True)
    arguments: dict[str, Any] = {"hidden_size": HIDDEN, "direction": "bidirectional", "outputs": ("y", "last")}
    y, last = by_oracle(one_node(op_type, inputs, **arguments), inputs)
    turned = {**inputs, "x": inputs["x"].swapaxes(0, 1), "h": inputs["h"].swapaxes(0, 1)}
    y_first, last_first = by_oracle(one_node(op_type, turned, layout=1, **arguments), turned)
    np.testing.assert_array_equal(y_first, y.transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(last_first, last.swapaxes(0, 1))
