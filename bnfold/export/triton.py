"""The model configuration by which NVIDIA's Triton Inference Server serves a bundle: ``config.pbtxt``.

Its fields are those of Triton's ``ModelConfig``: types by name, extents without the batch axis where there is one, -1
for an extent that varies.
"""

import json
from collections.abc import Sequence

from bnfold.bundle.manifest import Port

_TYPES = {
    "float": "FP32",
    "double": "FP64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "bool": "BOOL",
    "string": "STRING",
}
"""Triton's words for the types of ONNX."""

_HEAD = """\
# In a model repository: NAME/config.pbtxt beside NAME/1/ with the model and its side files.
backend: "onnxruntime"
max_batch_size: {batch}
"""

_BATCHING = """\
# Requests are joined to batches: `bnfold verify` holds every sample to the same outputs in any batch.
dynamic_batching { }
"""


_CPU_ONLY = """\
# The graph is fused for ONNX Runtime's CPU provider; by default, the server would take a GPU where there is one.
instance_group [ { kind: KIND_CPU } ]
"""


def triton_config(
    inputs: Sequence[Port], outputs: Sequence[Port], *, largest_batch: int, cpu_only: bool = False
) -> str:
    """Return the text of ``config.pbtxt``.

    Where the first extent of all ports is one that varies, and the same, it is the batch that the server fills, up to
    ``largest_batch`` samples; else the server takes extents as they are. Where a rank or a type is not known to Triton,
    the ports are left out: the server asks the model then. ``cpu_only`` keeps it from running on a GPU.
    """
    ports = [*inputs, *outputs]
    leading = {port.shape[0] if port.shape else None for port in ports}
    batched = len(leading) == 1 and isinstance(next(iter(leading)), str)
    text = _HEAD.format(batch=largest_batch if batched else 0)
    if all(port.shape is not None and port.type in _TYPES for port in ports):
        text += "".join(_port("input", port, batched=batched) for port in inputs)
        text += "".join(_port("output", port, batched=batched) for port in outputs)
    return text + (_BATCHING if batched else "") + (_CPU_ONLY if cpu_only else "")


def _port(kind: str, port: Port, *, batched: bool) -> str:
    dims = [dim if isinstance(dim, int) else -1 for dim in (port.shape or ())[batched:]]
    # Triton has no values without axes: what has none is sent as one number, and reshaped.
    lines = [f"name: {json.dumps(port.name)}", f"data_type: TYPE_{_TYPES[port.type]}", f"dims: {dims or [1]}"]
    if not dims:
        lines.append("reshape { shape: [ ] }")
    return f"{kind} {{\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
