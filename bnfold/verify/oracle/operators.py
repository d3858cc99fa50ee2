"""Which operators the oracle computes itself, because onnx's reference is slow at them or wrong.

Everything else goes to ``onnx.reference``. Adding an operator is one line in ``OPERATORS`` and one test line.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

from bnfold.errors import InputError
from bnfold.verify.oracle import contrib
from bnfold.verify.oracle.activations import relu
from bnfold.verify.oracle.control_flow import Loop, Scan
from bnfold.verify.oracle.detection import non_max_suppression, roi_align
from bnfold.verify.oracle.linear import conv, conv_transpose
from bnfold.verify.oracle.normalization import batch_norm, layer_norm, lrn, mean_variance_normalization
from bnfold.verify.oracle.pooling import average_pool, global_lp_pool, global_max_pool, max_pool
from bnfold.verify.oracle.quantization import dequantize_linear
from bnfold.verify.oracle.recurrent import gru, lstm, rnn
from bnfold.verify.oracle.resizing import ResizeToWhole, resize, upsample
from bnfold.verify.oracle.sampling import affine_grid, deform_conv, grid_sample
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
    "AffineGrid": affine_grid,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "Dropout": dropout,
    "GRU": gru,
    "GlobalLpPool": global_lp_pool,
    "GlobalMaxPool": global_max_pool,
    "GridSample": grid_sample,
    "LRN": lrn,
    "LSTM": lstm,
    "LayerNormalization": layer_norm,
    "MaxPool": max_pool,
    "MeanVarianceNormalization": mean_variance_normalization,
    "NonMaxSuppression": non_max_suppression,
    "RNN": rnn,
    "Relu": relu,
    "RoiAlign": roi_align,
}
"""Operator of the standard domain → function of its inputs and of all its attributes, by name."""


BELOW: dict[int, dict[str, Operator]] = {
    10: {"Upsample": upsample},
    11: {"Resize": resize},
    13: {"Hardmax": flattened_hardmax, "LogSoftmax": flattened_log_softmax, "Softmax": flattened_softmax},
    19: {"DequantizeLinear": dequantize_linear},
}
"""The same, for operators that the reference knows in their newer meaning only: opset from which on it does."""

CLASSES: tuple[type[OpRun], ...] = (Loop, ResizeToWhole, Scan)
"""Operators whose evaluation takes more than their inputs and attributes."""

RUNTIME_DOMAIN = "com.microsoft"

LAYOUT_DOMAIN = "com.microsoft.nchwc"
"""Of operators on weights in blocks."""

RUNTIME_OPERATORS: dict[str, Operator] = {
    "BiasGelu": contrib.bias_gelu,
    "FastGelu": contrib.fast_gelu,
    "FusedConv": contrib.fused_conv,
    "FusedGemm": contrib.fused_gemm,
    "FusedMatMul": contrib.fused_mat_mul,
    "Gelu": contrib.gelu,
    "NhwcFusedConv": contrib.nhwc_fused_conv,
    "QuickGelu": contrib.quick_gelu,
    "SkipLayerNormalization": contrib.skip_layer_normalization,
    "TransposeMatMul": contrib.fused_mat_mul,
}
"""The same for what ONNX Runtime's optimizer leaves in the graphs that it saves; these have no opset of their own."""

RUNTIME_STANDARD_OPERATORS: dict[str, Operator] = {"LayerNormalization": layer_norm}
"""What its optimizer takes from the standard's domain for graphs whose opset is older than the operator."""

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
    classes = [each for each in CLASSES if each.__name__ not in operators]
    own = [_reference_operator(name, opset, function) for name, function in operators.items()]
    early = {name: f for name, f in RUNTIME_STANDARD_OPERATORS.items() if name not in operators}
    theirs = [_runtime_operator("", *item) for item in early.items()]
    return [*classes, *own, *theirs, *(_runtime_operator(RUNTIME_DOMAIN, *item) for item in RUNTIME_OPERATORS.items())]


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


def _runtime_operator(domain: str, name: str, function: Operator) -> type[OpRun]:
    def run(_: OpRun, *inputs: Value | None, **attributes: Any) -> tuple[Value, ...]:
        results = function(*inputs, **attributes)
        return results if isinstance(results, tuple) else (results,)

    return type(name, (OpRun,), {"op_domain": domain, "op_schema": None, "_run": run})
