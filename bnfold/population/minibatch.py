"""BN layers that normalize by the minibatch they are given, and tell its moments."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way
from torch.utils.hooks import RemovableHandle

from bnfold.errors import InputError
from bnfold.population.layers import running_buffers
from bnfold.population.measure import Measured, broadcastable, measure
from bnfold.population.minibatch_sums import MinibatchSums


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a BN layer, by name, on one minibatch: that at a position among those which were measured at once."""

    layer: str
    measured: Measured
    position: int = 0

    @property
    def samples(self) -> int:
        """Number of samples that the layer was given."""
        return self.measured.samples

    @property
    def count(self) -> int:
        """Number of values per channel that the layer was given."""
        return self.measured.count

    def sums(self) -> MinibatchSums:
        """Return the sums over the samples, on the host."""
        return self.measured.on_host[self.position]


def measured_calls(
    layer: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, minibatches: int = 1, about_zero: bool = False
) -> list[Call]:
    """Return the calls of a layer on an input (N, C, ...) and, in `bnfold.nn`'s layers, the mask (N, ...) beside it.

    The input may hold several ``minibatches`` of one size, one after the other; under a mask it is one.
    ``about_zero`` is that of `measure`.

    Raises:
        InputError: there are no values per channel, or the mask is not of booleans, one for each of the values.
    """
    values, mask = [*args, *(kwargs[name] for name in ("input", "mask") if name in kwargs), None][:2]
    assert isinstance(values, Tensor), "a BN layer's input"
    if mask is not None:
        _require_mask(layer, mask, (len(values), *values.shape[2:]))
    try:
        measured = measure(values, mask, minibatches=minibatches, about_zero=about_zero)
    except InputError as error:
        raise InputError(f"BN layer {layer}: {error}") from error
    return [Call(layer, measured, position) for position in range(minibatches)]


def _require_mask(layer: str, mask: object, shape: tuple[int, ...]) -> None:
    if isinstance(mask, Tensor) and mask.dtype is torch.bool and mask.shape == shape:
        return
    found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    raise InputError(
        f"BN layer {layer}: expected a mask of torch.bool {shape}, true where a value counts, found {found}."
    )


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
    widen(layers.values())
    with observed(layers, normalize_by_minibatch) as calls:
        yield calls


def normalize_by_minibatch(layer: _BatchNorm, measured: Measured) -> None:
    """Let ``layer``, in eval mode and widened, normalize its next call by what was measured of it."""
    # Assigning to the attributes costs as much as the normalization of a small minibatch.
    buffers = layer._buffers  # pyright: ignore[reportPrivateUsage]  # see above
    dtype = running_buffers(layer)[0].dtype
    mean, variance = measured.mean_and_variance()
    buffers["running_mean"], buffers["running_var"] = mean[0].to(dtype), variance[0].to(dtype)


def normalized_side_by_side(
    layer: _BatchNorm, values: Tensor, measured: Measured, *, out: Tensor | None = None
) -> Tensor:
    """Return what ``layer``, widened, makes of ``values`` (N, C, ...), each minibatch in it normalized by its moments.

    ::

        γ·(x − μ_B)/√(σ²_B + ε) + β = x·scale + shift      scale = γ/√(σ²_B + ε)      shift = β − μ_B·scale

    which is how torch's kernel computes it too, there for one minibatch. It is computed into ``out``, which may be
    ``values``, where that is of the layer's type.
    """
    mean, variance = measured.mean_and_variance()
    gamma, beta = (layer._parameters[name] for name in ("weight", "bias"))  # pyright: ignore[reportPrivateUsage]  # torch says that they are never None
    scale = (variance + layer.eps).rsqrt_()
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale if beta is None else torch.addcmul(beta, mean, scale, value=-1)
    if out is not None and out.dtype is not scale.dtype:
        out = None
    return torch.addcmul(broadcastable(shift, values), values, broadcastable(scale, values), out=out).to(values.dtype)


@contextmanager
def observed(
    layers: Mapping[str, _BatchNorm], before_call: Callable[[_BatchNorm, Measured], None] = lambda _, __: None
) -> Generator[list[Call]]:
    """Yield the list that all calls of ``layers`` are added to; ``before_call`` is run before the layer is."""
    calls: list[Call] = []
    handles: list[RemovableHandle] = []

    def observe(name: str, layer: _BatchNorm) -> RemovableHandle:
        def before_forward(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.extend(measured_calls(name, args, kwargs))
            before_call(layer, calls[-1].measured)

        return layer.register_forward_pre_hook(before_forward, with_kwargs=True)

    try:
        for name, layer in layers.items():
            handles.append(observe(name, layer))
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def widen(layers: Iterable[_BatchNorm]) -> None:
    """Give layers in half precision float32 tensors, which can hold the statistics of a minibatch."""
    for layer in layers:
        for name, parameter in list(layer.named_parameters(recurse=False)):
            if _wide(parameter) is not parameter:
                setattr(layer, name, nn.Parameter(_wide(parameter.detach()), requires_grad=False))
        mean, variance = running_buffers(layer)
        layer.running_mean, layer.running_var = _wide(mean), _wide(variance)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
