"""BN layers that normalize by the minibatch they are given, and tell its moments."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way
from torch.utils.hooks import RemovableHandle

from bnfold.errors import InputError
from bnfold.population.layers import running_buffers
from bnfold.population.moments import Measured, Moments, measure


class Call(NamedTuple):
    """One call of a BN layer: the layer's name, how many samples it was given and the moments of their values."""

    layer: str
    samples: int
    measured: Measured

    def moments(self) -> Moments:
        """Return the moments on the host.

        Raises:
            InputError: the layer was given values that are not finite.
        """
        try:
            return self.measured.moments()
        except InputError as error:
            advice = "look at the data and at the weights before it"
            raise InputError(f"BN layer {self.layer}: its input is not finite ({error}); {advice}.") from error


@contextmanager
def minibatch_normalization(layers: Mapping[str, _BatchNorm]) -> Generator[list[Call]]:
    """Let ``layers``, all in eval mode, normalize by their minibatch; yield the list that their calls are added to.

    What a layer does in eval mode is ``γ·(x − running_mean)/√(running_var + ε) + β``, so each call finds the μ_B and
    σ²_B (biased) of its own input in place of the running statistics. The reduction is thus made once, in the precision
    of ``measure``, and nothing else that training mode does happens: no counting of minibatches, no momentum, no
    refusal of a single value, no exchange between replicas.

    Layers in half precision get float32 tensors in place of all of theirs, since μ_B and σ²_B may not fit theirs.
    The caller puts the tensors back (``preserved``); the hooks are removed here.
    """
    calls: list[Call] = []
    handles: list[RemovableHandle] = []
    try:
        for name, layer in layers.items():
            _widen(layer)
            handles.append(_observe(name, layer, calls))
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _observe(name: str, layer: _BatchNorm, calls: list[Call]) -> RemovableHandle:
    dtype = running_buffers(layer)[0].dtype
    # Assigning to the attributes costs as much as the normalization of a small minibatch.
    buffers = layer._buffers  # pyright: ignore[reportPrivateUsage]  # see above

    def before_forward(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        values = args[0] if args else kwargs["input"]
        try:
            measured = measure(values)
        except InputError as error:
            raise InputError(f"BN layer {name}: {error}") from error
        calls.append(Call(name, len(values), measured))
        mean, variance = measured.mean_and_variance()
        buffers["running_mean"], buffers["running_var"] = mean.to(dtype), variance.to(dtype)

    return layer.register_forward_pre_hook(before_forward, with_kwargs=True)


def _widen(layer: _BatchNorm) -> None:
    for name, parameter in list(layer.named_parameters(recurse=False)):
        if _wide(parameter) is not parameter:
            setattr(layer, name, nn.Parameter(_wide(parameter.detach()), requires_grad=False))
    mean, variance = running_buffers(layer)
    layer.running_mean, layer.running_var = _wide(mean), _wide(variance)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
