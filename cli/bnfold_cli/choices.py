"""Values that options choose from.

The library's enumerations say the same, but live beside NumPy and torch, which a help page must not wait for; a test
holds the two together.
"""

from typing import Literal

Estimator = Literal["self-consistent", "pooled", "algorithm-2", "moving-average"]
Provider = Literal["cpu", "cuda", "tensorrt"]
Objective = Literal["latency", "no-bn"]
Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["constant", "step", "exponential", "cosine"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bf16", "fp16"]
Keep = Literal["last", "best"]
ExportPrecision = Literal["float32", "float16", "bfloat16", "mixed"]
Target = Literal["onnx", "ort"]
