"""New statistics into the buffers of BN layers."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.errors import InputError
from bnfold.population.layers import running_buffers
from bnfold.population.report import LayerStatistics


def write_statistics(layers: Mapping[str, _BatchNorm], statistics: Iterable[LayerStatistics]) -> None:
    """Round the new statistics of ``layers`` once, to the buffers' own types, and store them: all or none.

    Raises:
        InputError: a statistic does not fit the type of its buffer.
    """
    writes: list[tuple[Tensor, Tensor]] = []
    for new in statistics:
        for buffer, values in zip(running_buffers(layers[new.name]), (new.new_mean, new.new_variance), strict=True):
            writes.append((buffer, _rounded(values, buffer, new.name)))
    before = [buffer.clone() for buffer, _ in writes]
    try:
        for buffer, value in writes:
            buffer.copy_(value)
    except BaseException:
        for (buffer, _), value in zip(writes, before, strict=True):
            buffer.copy_(value)
        raise


def normalize_by(name: str, layer: _BatchNorm, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> None:
    """Let ``layer``, in eval mode, normalize by these statistics, as they will be stored, until `preserved` ends.

    Raises:
        InputError: a statistic does not fit the type of the layer's buffers.
    """
    old_mean, old_variance = running_buffers(layer)
    layer.running_mean, layer.running_var = _rounded(mean, old_mean, name), _rounded(variance, old_variance, name)


def _rounded(values: NDArray[np.float64], buffer: Tensor, name: str) -> Tensor:
    # First the type: MPS knows no float64.
    rounded = torch.tensor(values).to(buffer.dtype).to(buffer.device)
    if not rounded.isfinite().all():
        found = f"its {buffer.dtype} buffers, found {np.abs(values).max():.3g}"
        raise InputError(f"BN layer {name}: expected statistics that fit {found}; keep BN layers in float32.")
    return rounded
