"""Tests of ``bnfold.training.network.make_optimizer``: one kernel where torch has one, the same update everywhere."""

from collections.abc import Callable, Iterable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from bnfold.training.hyperparameters import Hyperparameters, Optimizer
from bnfold.training.network import make_optimizer

PLAIN: dict[Optimizer, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    Optimizer.SGD: partial(torch.optim.SGD, lr=0.1, weight_decay=0.01, momentum=0.9, foreach=False),
    Optimizer.ADAMW: partial(torch.optim.AdamW, lr=0.1, weight_decay=0.01, foreach=False),
}


@pytest.mark.parametrize("which", Optimizer)
def test_the_one_kernel_computes_torchs_update(which: Optimizer) -> None:
    """Five updates of a layer in double, with decay."""
    settings = Hyperparameters(optimizer=which, learning_rate=0.1, weight_decay=0.01, momentum=0.9)
    torch.manual_seed(0)
    layer = nn.Linear(5, 3).double()
    plain = nn.Linear(5, 3).double()
    plain.load_state_dict(layer.state_dict())
    ours = make_optimizer(layer, settings)
    torchs = PLAIN[which](plain.parameters())
    assert ours.param_groups[0]["fused"]
    for _ in range(5):
        x = torch.randn(4, 5, dtype=torch.float64)
        for module, optimizer in ((layer, ours), (plain, torchs)):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    # Each update adds a handful of terms, none larger than a few units: rounding of 2⁻⁵³ each.
    torch.testing.assert_close(layer.weight, plain.weight, rtol=0, atol=5 * 10 * 2.0**-53)


class Turned(nn.Module):
    """A network with a complex parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.ones(3, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        """Turn and measure."""
        return (x * self.turn).abs()


@pytest.mark.parametrize(
    ("model", "x"),
    [(nn.Embedding(7, 3, sparse=True), torch.tensor([1, 5])), (Turned(), torch.ones(2, 3))],
    ids=["sparse gradient", "complex"],
)
def test_what_the_one_kernel_cannot_do_is_updated_all_the_same(model: nn.Module, x: Tensor) -> None:
    """One by one, as torch does it unasked."""
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = make_optimizer(model, Hyperparameters(momentum=0.0, weight_decay=0.0, learning_rate=0.1))
    model(x).sum().backward()
    optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
