"""Values that options choose from.

The library's enumerations say the same, but live beside NumPy and torch, which a help page must not wait for; a test
holds the two together.
"""

from typing import Literal

Estimator = Literal["pooled", "algorithm-2", "moving-average"]
Provider = Literal["cpu", "cuda", "tensorrt"]
Objective = Literal["latency", "no-bn"]
Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["constant", "step", "exponential", "cosine"]
Device = Literal["auto", "cpu", "cuda"]
