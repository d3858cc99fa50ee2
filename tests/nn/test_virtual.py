"""Virtual batches: each part by itself, the running statistics those of the whole minibatch."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from bnfold.nn import BatchNorm1d, BatchNorm2d, convert
from tests.nn.test_masks import ATOL, case, make, randn


@pytest.mark.parametrize(
    ("samples", "size", "parts"),
    [(8, 4, [4, 4]), (8, 3, [4, 4]), (11, 3, [4, 4, 3]), (5, 3, [5]), (2, 3, [2]), (7, 2, [3, 2, 2]), (6, 1, [1] * 6)],
)
@pytest.mark.parametrize("masked", [False, True])
def test_every_part_is_normalized_by_itself(samples: int, size: int, parts: list[int], masked: bool) -> None:
    """Outputs and gradients are those of a plain module on each part; a rest is spread over the parts."""
    x, grad = 1.5 + 2 * randn(samples, 3, 5, seed=1), randn(samples, 3, 5, seed=2)
    mask = torch.arange(samples * 5).reshape(samples, 5) % 4 != 0 if masked else None
    module = make((samples, 3, 5), virtual_batch_size=size)
    leaf = x.clone().requires_grad_()
    y: Tensor = module(leaf, mask)
    by_x, by_gamma, by_beta = torch.autograd.grad(y, (leaf, module.weight, module.bias), grad)
    masks = [None] * len(parts) if mask is None else mask.split(parts)
    expected: list[Tensor] = []
    gradients: list[tuple[Tensor, ...]] = []
    for part, part_grad, keep in zip(x.split(parts), grad.split(parts), masks, strict=True):
        plain, own = make((samples, 3, 5)), part.clone().requires_grad_()
        expected.append(plain(own, keep))
        gradients.append(torch.autograd.grad(expected[-1], (own, plain.weight, plain.bias), part_grad))
    by_part = list(zip(*gradients, strict=True))
    torch.testing.assert_close(y, torch.cat(expected), rtol=0, atol=ATOL)
    torch.testing.assert_close(by_x, torch.cat(by_part[0]), rtol=0, atol=ATOL)
    torch.testing.assert_close(by_gamma, sum(by_part[1]), rtol=0, atol=ATOL)
    torch.testing.assert_close(by_beta, sum(by_part[2]), rtol=0, atol=ATOL)


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("masked", [False, True])
def test_running_statistics_do_not_know_of_the_parts(momentum: float | None, masked: bool) -> None:
    """Two minibatches leave the state that a module without virtual batches has."""
    plain, cut = (make((9, 3, 5), momentum=momentum, **more) for more in ({}, {"virtual_batch_size": 2}))
    for seed in (1, 2):
        x = 1.5 + 2 * randn(9, 3, 5, seed=seed)
        mask = torch.arange(45).reshape(9, 5) % 4 != 0 if masked else None
        for module in (plain, cut):
            module(x, mask)
    for one, other in zip(plain.state_dict().values(), cut.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=ATOL)
    assert plain.state_dict()["num_batches_tracked"] == 2


@pytest.mark.parametrize("masked", [False, True])
def test_virtual_gradients_equal_finite_differences(masked: bool) -> None:
    """By input, γ and β."""
    module, (x, _, mask) = make((5, 3, 2), virtual_batch_size=2), case((5, 3, 2))
    keep = mask if masked else None
    if masked:
        mask[[0, 3]] = True  # each part has values that count

    def forward(values: Tensor, *_: Tensor) -> Tensor:
        return module(values, keep)

    assert gradcheck(forward, (x.requires_grad_(), module.weight, module.bias))


def test_evaluation_export_and_state_know_nothing_of_it() -> None:
    """In eval mode nothing is cut, and weights go to and from torch's module."""
    cut, plain = BatchNorm2d(3, virtual_batch_size=2), torch.nn.BatchNorm2d(3)
    cut(randn(4, 3, 2, 2).float())
    plain.load_state_dict(cut.state_dict(), strict=True)
    x = randn(4, 3, 2, 2, seed=9).float()
    assert torch.equal(cut.eval()(x), plain.eval()(x))
    assert "virtual_batch_size=2" in repr(cut)


def test_convert_sets_it_and_leaves_what_is_not_asked_for() -> None:
    """Torch's modules and ours get the option; without a word theirs stay."""
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), BatchNorm1d(3, virtual_batch_size=5))
    cut, same = convert(model, virtual_batch_size=4), convert(model)
    assert [part.virtual_batch_size for part in cut if isinstance(part, BatchNorm1d)] == [4, 4]
    assert [part.virtual_batch_size for part in same if isinstance(part, BatchNorm1d)] == [None, 5]


def test_options_that_contradict_are_refused() -> None:
    """Pooling and cutting at once, and parts of nothing."""
    with pytest.raises(ValueError, match="process_group pools minibatches, virtual_batch_size cuts them: choose one"):
        BatchNorm1d(3, process_group="world", virtual_batch_size=2)
    with pytest.raises(ValueError, match="virtual_batch_size: expected at least 1 sample, got 0"):
        BatchNorm1d(3, virtual_batch_size=0)
    with pytest.raises(ValueError, match=r"more than 1 value per channel when training, got input size \[1, 3\]"):
        BatchNorm1d(3, virtual_batch_size=1)(torch.randn(4, 3))
