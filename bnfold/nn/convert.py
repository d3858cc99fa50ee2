"""A model's Batch Normalization modules swapped for bnfold's."""

import copy
from typing import Final, TypeVar

from torch import nn

from bnfold.nn.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_OURS: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.BatchNorm3d: BatchNorm3d,
}


def convert(module: ModuleT) -> ModuleT:
    """Return a deep copy of ``module`` whose ``torch.nn.BatchNorm1d/2d/3d`` are bnfold's, itself included.

    The copy shares nothing with ``module``, and what is shared inside ``module`` is shared inside the copy. Each
    swapped module keeps its weights, buffers, dtypes, devices, flags, hooks and attributes: only its class changes.

    Left as they are, since bnfold has nothing that does the same:

    1. ``SyncBatchNorm``, whose statistics span replicas;
    2. subclasses of torch's modules (parametrized and quantization-aware ones too), whose forward may be their own.

    Raises:
        ValueError: torch cannot copy a lazy module that has not seen its first minibatch; run one, then convert.
    """
    converted = copy.deepcopy(module)
    for part in converted.modules():
        # Ours derive from torch's and add no state, so the class is all there is to change.
        part.__class__ = _OURS.get(type(part), type(part))
    return converted
