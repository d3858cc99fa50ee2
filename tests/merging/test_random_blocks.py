"""Random linear blocks: what is merged computes what was there before."""

import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings

from tests.merging.checker import merge_checked
from tests.merging.strategies import blocks

QUIET = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""The machine may be loaded, and a graph takes many draws: neither is a finding."""


@given(blocks())
@settings(QUIET, max_examples=120)
def test_random_blocks(model: ir.Model) -> None:
    """Sums of branches of every kind, strides, dilations, pads, groups and ranks."""
    merge_checked(model)


@given(blocks())
@settings(QUIET, max_examples=5000)
@pytest.mark.slow
def test_many_random_blocks(model: ir.Model) -> None:
    """The same, many more of them."""
    merge_checked(model)
