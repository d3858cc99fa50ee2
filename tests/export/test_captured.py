"""Networks from torch through the whole of ``bnfold.export.optimize``, in every operator set it offers."""

from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bnfold.export import optimize
from bnfold.export.opset import NEWEST
from bnfold.graph.capture import capture
from bnfold.verify.oracle import Oracle
from tests.graph.networks import EPS, randomized

SINGLE = 2**-19
"""Relative to the largest output: 32 roundings to float32, of constants such as √2 in what older sets say for Gelu."""


class Zoo(nn.Module):
    """What torch's exporter says with operators of opset 18 and later, and with arithmetic on shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 6, 3, padding=1), nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.bn = nn.BatchNorm2d(4, eps=EPS)
        self.fc, self.head = nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to probabilities ``(N, 5)``."""
        y = functional.leaky_relu(self.bn(self.up(functional.pad(self.conv(x), (1, 1, 0, 0)))), 0.125)
        y = functional.interpolate(functional.avg_pool2d(y, 2), scale_factor=2.0, mode="bilinear")
        first, second = torch.cat([y, y.clamp(0, 6)], 1).chunk(2, 1)
        y = (functional.hardswish(first) * second).reshape(x.shape[0], 4, -1).mean(2)
        return functional.gelu(self.head(self.fc(y))).softmax(-1)


@cache
def zoo() -> tuple[Oracle, bytes]:
    """Return the captured graph's oracle, and the graph."""
    model = capture(randomized(Zoo()), (torch.randn(2, 3, 6, 8),), input_names=["x"])
    return Oracle(model), ir.to_proto(model).SerializeToString()


@pytest.mark.parametrize("opset", [None, *range(13, NEWEST + 1)])
def test_a_captured_network_computes_the_same(opset: int | None) -> None:
    """In its own opset and in all the others, at another batch size than it was traced with."""
    oracle, content = zoo()
    model = ir.from_proto(onnx.load_from_string(content))
    optimize(model, opset=opset)
    x = {"x": np.random.default_rng(0).normal(size=(3, 3, 6, 8)).astype(np.float32)}
    np.testing.assert_allclose(Oracle(model).run(x)["output"], oracle.run(x)["output"], rtol=0, atol=SINGLE)
    assert not {"Shape", "SplitToSequence", "Identity", "CastLike"} & {node.op_type for node in model.graph}
