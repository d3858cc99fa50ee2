"""A model's Batch Normalization modules swapped for bnfold's."""

import copy
from typing import Final, TypeVar

from torch import nn

from bnfold.nn.batch_norm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d, Replicas

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_OURS: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.BatchNorm3d: BatchNorm3d,
}


def convert(module: ModuleT, *, process_group: Replicas = None, virtual_batch_size: int | None = None) -> ModuleT:
    """Return a deep copy of ``module`` whose ``torch.nn.BatchNorm1d/2d/3d`` are bnfold's, itself included.

    The copy shares nothing with ``module``, and what is shared inside ``module`` is shared inside the copy. Each
    swapped module keeps its weights, buffers, dtypes, devices, flags, hooks and attributes: only its class changes.

    Left as they are:

    1. ``SyncBatchNorm``, which was made for a purpose;
    2. subclasses of torch's modules (parametrized and quantization-aware ones too), whose forward may be their own.

    Args:
        module: any model.
        process_group: given to every BN of bnfold's in the copy, ``"world"`` for all replicas; None leaves theirs.
        virtual_batch_size: likewise.

    Raises:
        ValueError: both are given, or torch cannot copy a lazy module that has not seen its first minibatch; run one,
            then convert.
    """
    converted = copy.deepcopy(module)
    for part in converted.modules():
        # Ours derive from torch's and add no state, so the class is all there is to change.
        part.__class__ = _OURS.get(type(part), type(part))
        if isinstance(part, BatchNorm) and not (process_group is None and virtual_batch_size is None):
            part.pool(process_group=process_group, virtual_batch_size=virtual_batch_size)
    return converted
