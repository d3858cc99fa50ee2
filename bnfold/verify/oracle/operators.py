"""Which operators the oracle computes itself, because onnx's reference is slow at them or wrong.

Everything else goes to ``onnx.reference``. Adding an operator is one line in ``OPERATORS`` and one test line.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

from bnfold.errors import InputError
from bnfold.verify.oracle.linear import conv, conv_transpose
from bnfold.verify.oracle.normalization import batch_norm, lrn
from bnfold.verify.oracle.pooling import average_pool, global_max_pool, max_pool
from bnfold.verify.oracle.quantization import dequantize_linear
from bnfold.verify.oracle.resizing import resize, upsample
from bnfold.verify.oracle.softmax import flattened_hardmax, flattened_log_softmax, flattened_softmax
from bnfold.verify.oracle.types import Value

Operator = Callable[..., Value | tuple[Value, ...]]
"""A function of an operator's inputs, and of its attributes by name."""


def dropout(
    x: Value, _ratio: Value | None = None, training_mode: Value | None = None, **_: object
) -> tuple[Value, Value]:
    """Return y = x and the mask that keeps everything: Dropout outside training (ONNX Dropout-7 to -22).

    Raises:
        InputError: the third input turns training on.
    """
    if training_mode is not None and training_mode.any():
        raise InputError("Dropout is in training mode; export the model for inference.")
    return x, np.ones(x.shape, bool)


OPERATORS: dict[str, Operator] = {
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Dropout": dropout,
    "GlobalMaxPool": global_max_pool,
    "LRN": lrn,
    "MaxPool": max_pool,
}
"""Operator of the standard domain → function of its inputs and of all its attributes, by name."""


BELOW: dict[int, dict[str, Operator]] = {
    10: {"Upsample": upsample},
    11: {"Resize": resize},
    13: {"Hardmax": flattened_hardmax, "LogSoftmax": flattened_log_softmax, "Softmax": flattened_softmax},
    19: {"DequantizeLinear": dequantize_linear},
}
"""The same, for operators that the reference knows in their newer meaning only: opset from which on it does."""

COUNTING_OUTPUTS = frozenset({"MaxPool"})
"""Operators whose function is told how many outputs are wanted."""


RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that two runtimes never agree on."""


def reference_operators(opset: int) -> list[type[OpRun]]:
    """Return the operators above as ``opset`` defines them: the ``new_ops`` of a ``ReferenceEvaluator``."""
    older = [operators for limit, operators in BELOW.items() if opset < limit]
    operators = {name: function for table in (OPERATORS, *older) for name, function in table.items()}
    operators = {name: function for name, function in operators.items() if _existed(name, opset)}
    return [_reference_operator(name, opset, function) for name, function in operators.items()]


def _existed(name: str, opset: int) -> bool:
    """Say whether an opset has an operator: Resize came in opset 10, DequantizeLinear too."""
    try:
        onnx.defs.get_schema(name, opset)
    except onnx.defs.SchemaError:
        return False
    return True


def _reference_operator(name: str, opset: int, function: Operator) -> type[OpRun]:
    def run(self: OpRun, *inputs: Value | None, **attributes: Any) -> tuple[Value, ...]:
        if name in COUNTING_OUTPUTS:
            attributes["outputs"] = len(self.onnx_node.output)
        results = function(*inputs, **attributes)
        return results if isinstance(results, tuple) else (results,)

    # The schema brings the defaults of this opset; OpRun alone would take those of the newest.
    schema = onnx.defs.get_schema(name, opset)
    return type(name, (OpRun,), {"op_domain": "", "op_schema": schema, "_run": run})
