"""The oracle against the module that a graph was captured from, run by torch in double."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bnfold.folding import fold
from bnfold.graph.capture import capture
from bnfold.verify.oracle import Oracle, widened

MODELS = Path(__file__).parents[3] / "sample_models"

AGREEMENT = 1e-9
"""What the two may differ by, relative to the largest output: a million roundings of double."""


def trained_like(name: str) -> nn.Module:
    """Build a sample model, statistics and affine parameters drawn so that no normalization is the identity."""
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    network: nn.Module = module.build()
    for part in network.modules():
        variance, mean = getattr(part, "running_var", None), getattr(part, "running_mean", None)
        if variance is not None and mean is not None:
            variance.uniform_(0.5, 2)
            mean.normal_()
    return network.eval()


@pytest.mark.parametrize("name", ["residual"])
def test_graph_and_module_agree_in_double(name: str) -> None:
    """The captured graph, and its fold in double, give what the module in double gives."""
    network = trained_like(name)
    images = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 1, 8, 8)).astype(np.float32))
    graph = capture(network, (images,), input_names=["images"])
    with torch.no_grad():
        expected = network.double()(images.double()).numpy()
    wide = widened(graph)
    fold(wide)
    for each in (graph, wide):
        (found,) = Oracle(each).run({"images": images.numpy()}).values()
        assert np.abs(found - expected).max() <= AGREEMENT * np.abs(expected).max()
