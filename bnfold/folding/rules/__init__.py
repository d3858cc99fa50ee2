"""What every operator does to gauges: one line an operator.

A rule is a function of a `Site`. It makes statements about the gauges of the node's inputs, gives the outputs their
labels, and records what `apply` can rewrite. It may raise `Opaque`. An operator that is not in the table keeps its
inputs and outputs at s = 1, σ = 0, which is always right.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bnfold.folding.rules import (
    activation,
    contraction,
    linear,
    pointwise,
    pooling,
    sampling,
    standardization,
    structure,
)
from bnfold.folding.site import Site

Rule = Callable[[Site], None]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Conv": linear.conv,
        "ConvTranspose": linear.conv_transpose,
        "Gemm": linear.gemm,
        "MatMul": linear.matmul,
        "Einsum": contraction.einsum,
        "LSTM": linear.recurrent,
        "GRU": linear.recurrent,
        "RNN": linear.recurrent,
        "BatchNormalization": pointwise.batch_normalization,
        "Add": pointwise.add,
        "Sub": pointwise.subtract,
        "Mul": pointwise.multiply,
        "Div": pointwise.divide,
        "Sum": pointwise.sum_,
        "Neg": pointwise.negate,
        "Max": pointwise.extremum,
        "Min": pointwise.extremum,
        "Where": pointwise.where,
        "InstanceNormalization": standardization.instance_normalization,
        "GroupNormalization": standardization.group_normalization,
        "LayerNormalization": standardization.layer_normalization,
        "RMSNormalization": standardization.rms_normalization,
        "Relu": activation.relu,
        "LeakyRelu": activation.homogeneous,
        "PRelu": activation.homogeneous,
        "Abs": activation.homogeneous,
        "Clip": activation.clip,
        "MaxPool": pooling.max_pool,
        "GlobalMaxPool": pooling.max_pool,
        "AveragePool": pooling.average_pool,
        "GlobalAveragePool": pooling.global_average_pool,
        "LpPool": pooling.lp_pool,
        "ReduceMean": pooling.reduce_mean,
        "ReduceMax": pooling.reduce_extremum,
        "ReduceMin": pooling.reduce_extremum,
        "ReduceSum": pooling.reduce_sum,
        "ReduceL1": pooling.reduce_norm,
        "ReduceL2": pooling.reduce_norm,
        "RoiAlign": sampling.roi_align,
        "GridSample": sampling.grid_sample,
        "Shape": structure.extents,
        "Size": structure.extents,
        "Identity": structure.identity,
        "Cast": structure.cast,
        "Dropout": structure.dropout,
        "Reshape": structure.reshape,
        "Flatten": structure.reshape,
        "Squeeze": structure.reshape,
        "Unsqueeze": structure.reshape,
        "Transpose": structure.transpose,
        "Expand": structure.expand,
        "Tile": structure.tile,
        "Concat": structure.concat,
        "Split": structure.split,
        "Slice": structure.slice_,
        "Gather": structure.gather,
        "Pad": structure.pad,
        "DepthToSpace": structure.depth_to_space,
        "SpaceToDepth": structure.space_to_depth,
        "Resize": structure.resize,
        "Upsample": structure.resize,
    }
)
