"""What a convolution costs to run: multiply-adds, and passes over memory."""

import math

from bnfold.merging.geometry import Geometry

PASS = 16.0
"""Multiply-adds that take as long as it takes to write one number and to read it again where it is used next.

One core adds and multiplies some 32 float32 a cycle at best and about half of it in a convolution; it moves eight
bytes in one to two cycles where the value does not stay in a cache. Only the order of magnitude matters: merges that
save multiply-adds save passes too, and what would multiply the work, such as a depthwise Conv in a dense one, does so
by more.
"""

BLOCK = 16
"""Channels that ONNX Runtime pools at once on AVX-512, where their number is a multiple of it; else plane by plane."""

PLANE_TAP = 64.0
"""Multiply-adds of a convolution that take as long as a tap of a pooling plane by plane.

Measured on planes of 4 to 56 positions a side: 24 to 196, the more the smaller they are. Of blocks a tap takes as long
as a multiply-add or less.
"""


def tap(channels: int) -> float:
    """Return what a tap of a pooling costs."""
    return 1.0 if channels % BLOCK == 0 else PLANE_TAP


def work(geometry: Geometry) -> float:
    """Return the multiply-adds of all channels of one output position."""
    return float(geometry.outputs * math.prod(geometry.shape[1:]))


def cost(geometry: Geometry, *, multiplies: bool = True) -> float:
    """Return what one output position costs; what multiplies nothing costs the pass."""
    return (work(geometry) if multiplies else 0.0) + PASS * geometry.outputs
