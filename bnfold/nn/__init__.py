"""Batch Normalization while training: the transform of the paper, as modules that stand in for torch's."""

from bnfold.nn.batch_norm import BATCH_NORM_TYPES, BatchNorm1d, BatchNorm2d, BatchNorm3d
from bnfold.nn.convert import convert

__all__ = ["BATCH_NORM_TYPES", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "convert"]
