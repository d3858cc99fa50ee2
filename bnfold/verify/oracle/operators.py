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
from bnfold.verify.oracle.pooling import average_pool, max_pool
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
    "LRN": lrn,
    "MaxPool": max_pool,
}
"""Operator of the standard domain → function of its inputs and of all its attributes, by name."""


BELOW_OPSET_13: dict[str, Operator] = {
    "Hardmax": flattened_hardmax,
    "LogSoftmax": flattened_log_softmax,
    "Softmax": flattened_softmax,
}
"""The same, for operators that meant something else before opset 13."""


RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that two runtimes never agree on."""


def reference_operators(opset: int) -> list[type[OpRun]]:
    """Return the operators above as ``opset`` defines them: the ``new_ops`` of a ``ReferenceEvaluator``."""
    operators = OPERATORS if opset >= 13 else OPERATORS | BELOW_OPSET_13
    return [_reference_operator(name, opset, function) for name, function in operators.items()]


def _reference_operator(name: str, opset: int, function: Operator) -> type[OpRun]:
    def run(_: OpRun, *inputs: Value | None, **attributes: Any) -> tuple[Value, ...]:
        results = function(*inputs, **attributes)
        return results if isinstance(results, tuple) else (results,)

    # The schema brings the defaults of this opset; OpRun alone would take those of the newest.
    schema = onnx.defs.get_schema(name, opset)
    return type(name, (OpRun,), {"op_domain": "", "op_schema": schema, "_run": run})
