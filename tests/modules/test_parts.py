"""What a module can hold: shared parts, missing parameters, parts with a forward of their own."""

import copy
import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import bnfold
from bnfold.folding import Reason
from tests.modules.networks import EPS, Folded, assert_same, fold_checked, randomized


class Written(nn.Module):
    """A module whose forward is given."""

    def __init__(self, forward: Callable[["Written", Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.given = forward

    def __getitem__(self, name: str) -> nn.Module:
        """Return a part."""
        return self.parts[name]

    def forward(self, x: Tensor) -> Tensor:
        """Compute what was given."""
        return self.given(self, x)


def images(channels: int = 3) -> Tensor:
    """Return a batch of images of float64."""
    return torch.randn(2, channels, 6, 7, dtype=torch.float64)


def reasons(folded: Folded) -> dict[str, Reason | None]:
    """Return the reason of every normalization."""
    return {outcome.name: outcome.reason for outcome in folded.report.batch_norms}


def test_a_block_that_is_called_twice() -> None:
    """Convolution and normalization, both called twice on values of their own output, fold once."""

    def forward(m: Written, x: Tensor) -> Tensor:
        for _ in range(2):
            x = torch.relu(m["bn"](m["conv"](x)))
        return m["last"](x)

    module = Written(forward, conv=nn.Conv2d(3, 3, 1), bn=nn.BatchNorm2d(3), last=nn.Conv2d(3, 2, 1))
    folded = fold_checked(randomized(module), images())
    assert folded.kept == []
    assert [outcome.name for outcome in folded.report.batch_norms] == ["parts.bn"]


def test_a_normalization_of_which_one_call_cannot_go() -> None:
    """Its module stays for both calls, and computes what it did."""

    def forward(m: Written, x: Tensor) -> Tensor:
        y = m["bn"](m["conv"](x))
        return m["last"](torch.relu(y)) + m["last"](m["bn"](torch.sigmoid(y)))

    module = Written(forward, conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4), last=nn.Conv2d(4, 2, 3, padding=1))
    assert fold_checked(randomized(module), images()).kept == ["parts.bn"]


def test_a_parameter_that_two_modules_share() -> None:
    """Tied weights stay one parameter, with two biases."""
    module = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False),
        nn.BatchNorm2d(3),
        nn.Sigmoid(),
        nn.Conv2d(3, 3, 1, bias=False),
        nn.BatchNorm2d(3),
    )
    first, second = module[0], module[3]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    second.weight = first.weight
    randomized(module)
    folded = fold_checked(module, images())
    copies = folded.module
    assert isinstance(copies, nn.Sequential)
    assert copies[0].weight is copies[3].weight
    assert reasons(folded) == {"1": None, "4": Reason.NOT_WRITABLE}


def test_an_encoder_and_its_transpose() -> None:
    """A weight that is read in two directions stays as it is."""
    module = Written(
        lambda m, x: nn.functional.linear(torch.sigmoid(m["bn"](m["encode"](x))), m["encode"].weight.t()),  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownArgumentType, reportUnknownMemberType]  # a Linear's
        encode=nn.Linear(5, 4),
        bn=nn.BatchNorm1d(4),
    )
    folded = fold_checked(randomized(module), torch.randn(3, 5, dtype=torch.float64))
    assert reasons(folded) == {"parts.bn": Reason.NOT_WRITABLE}


def test_linear_layers_of_sequences() -> None:
    """Linear, without bias, on (N, L, C): the normalization of (N, C, L) and the one behind Flatten both go."""

    def forward(m: Written, x: Tensor) -> Tensor:
        x = m["bn"](m["linear"](x).transpose(1, 2)).transpose(1, 2)
        return m["flat"](m["next"](torch.relu(x)).flatten(1))

    linear, following = nn.Linear(4, 5, bias=False), nn.Linear(5, 3, bias=False)
    module = Written(forward, linear=linear, bn=nn.BatchNorm1d(5), next=following, flat=nn.BatchNorm1d(3 * 6))
    folded = fold_checked(randomized(module), torch.randn(2, 6, 4, dtype=torch.float64))
    assert reasons(folded)["parts.bn"] is None
    assert dict(folded.module.named_parameters())["parts.linear.bias"].shape == (5,)


def test_a_sequence_as_long_as_it_has_channels() -> None:
    """BatchNorm1d along the sequence is no business of the linear layer's, also where the sizes agree."""
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sigmoid())
    assert fold_checked(randomized(module), torch.randn(2, 5, 4, dtype=torch.float64)).kept == ["1"]


def test_kinds_of_normalization_and_of_linear_operator() -> None:
    """affine=False, SyncBatchNorm, bnfold's own; transposed and grouped convolutions, all in a row."""
    module = nn.Sequential(
        *(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6, affine=False), nn.ReLU()),
        *(nn.ConvTranspose2d(6, 8, 3, stride=2, groups=2, bias=False), nn.SyncBatchNorm(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, groups=8), bnfold_norm(8), nn.LeakyReLU(0.125), nn.Conv2d(8, 3, 1)),
    )
    folded = fold_checked(randomized(module), images(4))
    assert folded.kept == folded.normalizations == []


def bnfold_norm(channels: int) -> nn.Module:
    """Return this library's own module."""
    from bnfold.nn import BatchNorm2d

    return BatchNorm2d(channels)


def test_a_kept_normalization_takes_up_what_comes_before() -> None:
    """Without γ and β of its own it gets some, which are not trained."""
    module = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3, affine=False), nn.Sigmoid())
    folded = fold_checked(randomized(module), images())
    assert folded.kept == ["0", "2"]
    convolution = nn.Conv2d(3, 3, 1)
    behind = nn.Sequential(nn.Sigmoid(), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.BatchNorm2d(3, affine=False), nn.Tanh())
    folded = fold_checked(randomized(nn.Sequential(convolution, *behind)), images())
    assert folded.kept == ["4"]
    kept = folded.module.get_submodule("4")
    assert isinstance(kept, nn.BatchNorm2d)
    assert kept.affine
    assert not kept.weight.requires_grad


def test_a_functional_normalization() -> None:
    """F.batch_norm stays, and what is around it still computes the same."""

    def forward(m: Written, x: Tensor) -> Tensor:
        bn = m["bn"]
        assert isinstance(bn, nn.BatchNorm2d)
        y = nn.functional.batch_norm(m["conv"](x), bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=EPS)
        return m["other"](m["last"](torch.relu(y)))

    module = Written(
        forward, conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4), last=nn.Conv2d(4, 2, 1), other=nn.BatchNorm2d(2)
    )
    folded = fold_checked(randomized(module), images())
    assert reasons(folded) == {"BatchNormalization": Reason.NOT_WRITABLE, "parts.other": None}


def test_a_normalization_with_a_forward_of_its_own() -> None:
    """A subclass that does more than normalize stays, since an identity would do less."""

    class Activated(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
            return torch.relu(super().forward(input))

    module = nn.Sequential(nn.Conv2d(3, 4, 1), Activated(4), nn.Conv2d(4, 2, 1))
    folded = fold_checked(randomized(module), images())
    assert folded.normalizations == ["1"]
    assert [outcome.reason for outcome in folded.report.batch_norms] == [Reason.NOT_WRITABLE]


def test_constants_in_forward() -> None:
    """What is written in forward stays what it is; scales pass x / 2, and nothing passes x − 1 without need."""
    module = Written(
        lambda m, x: m["last"](torch.relu(m["bn"](m["conv"](x)) / 2) - 1),
        conv=nn.Conv2d(3, 4, 1),
        bn=nn.BatchNorm2d(4),
        last=nn.Conv2d(4, 2, 1),
    )
    assert fold_checked(randomized(module), images()).kept == []


def test_a_convolution_with_weights_of_forward() -> None:
    """A convolution by a tensor that is no parameter leaves the normalization behind it alone."""
    kernel = torch.randn(4, 3, 1, 1, dtype=torch.float64)
    module = Written(lambda m, x: m["bn"](nn.functional.conv2d(x, kernel)), bn=nn.BatchNorm2d(4))
    folded = fold_checked(randomized(module), images())
    assert reasons(folded) == {"parts.bn": Reason.NOT_WRITABLE}


def test_parametrized_weights() -> None:
    """A weight that is rewritten becomes plain, one that is not stays parametrized."""
    module = nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(3, 4, 1, bias=False)),
        *(nn.BatchNorm2d(4), nn.Sigmoid(), parametrizations.spectral_norm(nn.Conv2d(4, 2, 1))),
    )
    folded = fold_checked(randomized(module), images())
    names = set(dict(folded.module.named_parameters()))
    assert names == {"0.weight", "0.bias", "3.bias", "3.parametrizations.weight.original"}
    assert folded.module.get_parameter("0.weight").requires_grad


def test_views_of_one_vector() -> None:
    """Tensors whose memory is shared are not written, since others would change with them."""

    class Views(nn.Module):
        first: Tensor
        last: Tensor

        def __init__(self) -> None:
            super().__init__()
            vector = torch.randn(24)
            self.register_buffer("first", vector[:12].view(4, 3, 1, 1))
            self.register_buffer("last", vector[12:].view(3, 4, 1, 1))
            self.bn = nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(self.bn(nn.functional.conv2d(x, self.first)), self.last)

    module = randomized(Views()).float()
    vector = torch.randn(24)
    module.first, module.last = vector[:12].view(4, 3, 1, 1), vector[12:].view(3, 4, 1, 1)  # one storage again
    (outcome,) = bnfold.inspect(module, images().float())
    assert outcome.reason is Reason.NOT_WRITABLE


def test_zeros_in_gamma() -> None:
    """γ = 0 silences a convolution's channel, bias included; of a shared convolution it does not."""
    module = randomized(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sigmoid(), nn.Conv2d(4, 2, 1)))
    with torch.no_grad():
        module.get_parameter("1.weight")[1] = 0
        module.get_parameter("1.bias")[1] = 0
    assert fold_checked(module, images()).kept == []
    shared = Written(
        lambda m, x: m["bn"](m["conv"](x)) + torch.sigmoid(m["conv"](x)), conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4)
    )
    randomized(shared)
    with torch.no_grad():
        shared.get_parameter("parts.bn.weight")[1] = 0
    assert fold_checked(shared, images()).kept == ["parts.bn"]


def test_hooks_stay_and_every_reference_follows() -> None:
    """A hook that changes a normalization's result goes on doing so; a plain list that holds it holds the identity."""

    def rectified(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return torch.relu(output)

    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn, self.last = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
            self.held = (self.bn,)
            self.bn.register_forward_hook(rectified)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.held[0](self.conv(x)))

    assert fold_checked(randomized(Held()), images()).kept == []


def test_generators_and_flags_are_as_they_were() -> None:
    """Folding draws nothing, and a frozen parameter stays frozen."""
    module = randomized(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    module.get_parameter("0.weight").requires_grad_(False)
    before = torch.get_rng_state(), random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002  # the legacy one
    folded = bnfold.fold(module, images_like := torch.zeros(1, 3, 6, 7, dtype=torch.float64))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == pickle.dumps(np.random.get_state())  # noqa: NPY002  # the legacy one
    assert not folded.get_parameter("0.weight").requires_grad
    assert not any(part.training for part in folded.modules())
    assert_same(module, folded, (images_like,))


def test_a_normalization_that_is_never_called() -> None:
    """It stays, and the report says that nothing depends on it."""
    module = Written(lambda m, x: m["conv"](x), conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4))
    folded = fold_checked(randomized(module), images())
    assert [outcome.detail for outcome in folded.report.batch_norms] == ["no output depends on it"]


def test_minibatch_statistics_are_kept() -> None:
    """Without running statistics a normalization depends on its minibatch, in inference mode too."""
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    folded = bnfold.fold_module(module.double().eval(), images())
    assert [outcome.reason for outcome in folded[1].batch_norms] == [Reason.NOT_CONSTANT]


def test_training_mode_is_refused() -> None:
    """The message names the normalization."""
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    module[1].train()
    with pytest.raises(bnfold.InputError, match="Sequential, part 1: BatchNorm2d is in training mode"):
        bnfold.fold(module, images())


def test_what_cannot_be_captured_is_refused() -> None:
    """Control flow that depends on data: the message says where."""
    module = Written(lambda m, x: m["bn"](x) if x.sum() > 0 else x, bn=nn.BatchNorm2d(3))
    with pytest.raises(bnfold.InputError, match="torch cannot capture it"):
        bnfold.fold(randomized(module), images())


def test_a_forward_that_looks_into_its_normalization() -> None:
    """What runs on the captured graph but not on an identity is refused."""
    module = Written(
        lambda m, x: m["bn"](m["conv"](x)).to(m["bn"].running_mean.dtype),  # pyright: ignore[reportArgumentType, reportUnknownArgumentType, reportUnknownMemberType]  # a buffer
        conv=nn.Conv2d(3, 4, 1),
        bn=nn.BatchNorm2d(4),
    )
    with pytest.raises(bnfold.InputError, match="forward needs its normalizations for more than calling them"):
        bnfold.fold(randomized(module), images())


def test_other_things_are_refused() -> None:
    """What is neither a graph nor a module is named."""
    with pytest.raises(bnfold.InputError, match="found str"):
        bnfold.fold("model.onnx", ())  # pyright: ignore[reportArgumentType, reportCallIssue]  # on purpose


def test_inspect_changes_nothing() -> None:
    """The outcomes are those of a fold."""
    module = randomized(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    state = copy.deepcopy(module.state_dict())
    (outcome,) = bnfold.inspect(module, images())
    assert outcome.name == "1"
    assert outcome.into == ("0.weight",)
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in state.items())
