"""What must fold, architecture by architecture: no BatchNormalization left, and no Mul or Add in its place."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.folding import Objective, Reason
from tests.folding.builder import Builder
from tests.folding.checker import Folded, fold_checked

ARITHMETIC = ("BatchNormalization", "Mul", "Add", "Sub", "Div")
Network = Callable[[Builder], str]


def left(folded: Folded) -> dict[str, int]:
    """Return how many affine maps a folded graph has, by type, those that are there."""
    return {op_type: folded.count(op_type) for op_type in ARITHMETIC if folded.count(op_type)}


def built(network: Network, opset: int = 17, ir_version: int = 8) -> ir.Model:
    """Build a model with one output."""
    b = Builder(opset=opset, ir_version=ir_version)
    return b.model(network(b))


# Free of cost


def conv_bn(b: Builder) -> str:
    """Conv → BN → Relu → Conv → BN, images."""
    x = b.input("N", 3, 7, 6)
    hidden = b("Relu", b.batch_norm(b.conv(x, 3, 5, 3, 2, bias=False, pads=[1, 0, 1, 0]), 5))
    return b.batch_norm(b.conv(hidden, 5, 4, 2, 3, strides=[2, 1]), 4)


def conv_1d(b: Builder) -> str:
    """Conv → BN over sequences (N, C, L)."""
    return b.batch_norm(b.conv(b.input("N", 3, 7), 3, 5, 2, dilations=[2]), 5)


def conv_3d(b: Builder) -> str:
    """Conv → BN over volumes (N, C, D, H, W)."""
    return b.batch_norm(b.conv(b.input("N", 2, 5, 4, 6), 2, 3, 2, 1, 3), 3)


def depthwise(b: Builder) -> str:
    """Depthwise Conv → BN → pointwise Conv → BN."""
    x = b.input("N", 4, 6, 5)
    hidden = b.batch_norm(b.conv(x, 4, 4, 3, 3, group=4, pads=[1, 1, 1, 1]), 4)
    return b.batch_norm(b.conv(b("Relu", hidden), 4, 7, 1, 1), 7)


def depth_multiplier(b: Builder) -> str:
    """BN → depthwise Conv with three outputs an input → BN."""
    x = b("Sigmoid", b.input("N", 2, 6, 5))
    return b.batch_norm(b.conv(b.batch_norm(x, 2), 2, 6, 3, 2, group=2), 6)


def grouped(b: Builder) -> str:
    """BN → Conv of two groups of unequal depth on both sides → BN."""
    x = b("Sigmoid", b.input("N", 4, 6, 5))
    return b.batch_norm(b.conv(b.batch_norm(x, 4), 4, 6, 3, 2, group=2), 6)


def conv_transpose(b: Builder) -> str:
    """ConvTranspose → BN → Relu → ConvTranspose of two groups → BN."""
    x = b.input("N", 3, 4, 5)
    hidden = b("ConvTranspose", x, b.normal(3, 4, 2, 3), strides=[2, 1])
    hidden = b("Relu", b.batch_norm(hidden, 4))
    upper = b(
        "ConvTranspose", hidden, b.normal(4, 3, 3, 2), b.normal(6), group=2, output_padding=[1, 0], strides=[2, 2]
    )
    return b.batch_norm(upper, 6)


def relu_bn_max_pool_conv(b: Builder) -> str:
    """Conv → Relu → BN → MaxPool with padding → Conv without."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 8, 7), 3, 4, 2, 2)), 4)
    pooled = b("MaxPool", hidden, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    return b.conv(pooled, 4, 5, 2, 2)


def relu_bn_average_pool_conv(b: Builder) -> str:
    """Conv → Relu → BN → AveragePool with padding that does not count → Conv without."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 8, 7), 3, 4, 2, 2)), 4)
    pooled = b("AveragePool", hidden, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=0)
    return b.conv(pooled, 4, 5, 2, 2)


def concat_bn(b: Builder) -> str:
    """Conv, Conv → Concat → BN → Relu → Conv."""
    x = b.input("N", 3, 6, 5)
    joined = b("Concat", b.conv(x, 3, 4, 1, 1), b.conv(x, 3, 2, 1, 1), axis=1)
    return b.conv(b("Relu", b.batch_norm(joined, 6)), 6, 5, 3, 3, pads=[1, 1, 1, 1])


def concat_of_single_channels(b: Builder) -> str:
    """Conv, Conv → Concat → BN, each Conv of one output channel, as in spatial attention."""
    x = b.input("N", 3, 6, 5)
    return b.batch_norm(b("Concat", b.conv(x, 3, 1, 1, 1), b.conv(x, 3, 1, 2, 2, pads=[0, 0, 1, 1]), axis=1), 2)


def flatten_gemm(b: Builder) -> str:
    """Relu → BN → Flatten → Gemm: each of C·H·W columns by its channel."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 2, 4, 5), 2, 3, 2, 2)), 3)
    return b("Gemm", b("Flatten", hidden), b.normal(3 * 3 * 4, 5), b.normal(5))


def global_average_pool_gemm(b: Builder) -> str:
    """Relu → BN → GlobalAveragePool → Flatten → Gemm."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 4, 5), 3, 6, 2, 2)), 6)
    return b("Gemm", b("Flatten", b("GlobalAveragePool", hidden)), b.normal(7, 6), transB=1)


def mean_matmul(b: Builder) -> str:
    """Relu → BN → ReduceMean over space → MatMul."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 4, 5), 3, 6, 2, 2)), 6)
    return b.matmul(b("ReduceMean", hidden, axes=[2, 3], keepdims=0), 6, 4)


def token_linear(b: Builder) -> str:
    """(N, L, K) Linear → Transpose → BN over C → Transpose → Relu → Linear."""
    hidden = b.matmul(b.input("N", 5, 3), 3, 4)
    normal = b.batch_norm(b("Transpose", hidden, perm=[0, 2, 1]), 4)
    return b.matmul(b("Relu", b("Transpose", normal, perm=[0, 2, 1])), 4, 6)


def token_linear_as_rows(b: Builder) -> str:
    """(N, L, K) Linear → Reshape to rows → BN → Reshape back."""
    rows = b("Reshape", b.matmul(b.input("N", 5, 3), 3, 4), b.integers(-1, 4))
    return b("Reshape", b.batch_norm(rows, 4), b.integers(-1, 5, 4))


def linear_flatten(b: Builder) -> str:
    """Linear → Unsqueeze → Flatten → BN."""
    hidden = b("Unsqueeze", b.matmul(b.input("N", 3), 3, 4), b.integers(2))
    return b.batch_norm(b("Flatten", hidden), 4)


def gemm(b: Builder) -> str:
    """Gemm → BN → Relu → Gemm with everything that a Gemm has → BN."""
    hidden = b("Relu", b.batch_norm(b("Gemm", b.input("N", 3), b.normal(3, 5)), 5))
    return b.batch_norm(b("Gemm", hidden, b.normal(4, 5), b.normal(4), alpha=0.5, beta=-2.0, transB=1), 4)


def two_in_a_row(b: Builder) -> str:
    """Conv → BN → BN → BN."""
    hidden = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)
    return b.batch_norm(b.batch_norm(b.batch_norm(hidden, 6), 6), 6)


def normalized_input(b: Builder) -> str:
    """(x − mean) / std into a first Conv without padding."""
    x = b("Div", b("Sub", b.input("N", 3, 6, 5), b.normal(3, 1, 1)), b.positive(3, 1, 1))
    return b.conv(x, 3, 4, 3, 3)


def frozen_mul_add(b: Builder) -> str:
    """Conv → Mul → Add → Relu: FrozenBatchNorm."""
    hidden = b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3, bias=False, pads=[1, 1, 1, 1])
    return b("Relu", b("Add", b("Mul", b.positive(1, 4, 1, 1), hidden), b.normal(4, 1, 1)))


def frozen_sub_div_mul_add(b: Builder) -> str:
    """Conv → Sub → Div → Mul → Add → Relu: BN as arithmetic, √(Var + ε) computed in the graph."""
    hidden = b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3)
    deviation = b("Sqrt", b("Add", b.positive(4, 1, 1), b.stored(0.25)))
    hidden = b("Div", b("Sub", hidden, b.normal(4, 1, 1)), deviation)
    return b("Relu", b("Add", b("Mul", hidden, b.positive(4, 1, 1)), b.normal(4, 1, 1)))


def several_consumers(b: Builder) -> str:
    """Relu → BN → two Convs and a pooled Gemm."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2)), 6)
    b.conv(hidden, 6, 2, 2, 2)
    first, second = b.conv(hidden, 6, 4, 1, 1), b.conv(hidden, 6, 4, 1, 1)
    pooled = b("Gemm", b("Flatten", b("GlobalMaxPool", hidden)), b.normal(6, 4))
    both = b("Sigmoid", first), b("Sigmoid", second)
    return b("Concat", *(b("Flatten", b("GlobalAveragePool", each)) for each in both), pooled, axis=1)


def residual(b: Builder) -> str:
    """Post-activation residual blocks: Add of Conv → BN branches, the second with an identity."""
    x = b("Relu", b.batch_norm(b.conv(b.input("N", 3, 6, 5), 3, 4, 1, 1), 4))
    branch = b.batch_norm(b.conv(x, 4, 4, 3, 3, pads=[1, 1, 1, 1]), 4)
    shortcut = b.batch_norm(b.conv(x, 4, 4, 1, 1), 4)
    x = b("Relu", b("Add", branch, shortcut))
    return b("Relu", b("Add", b.batch_norm(b.conv(x, 4, 4, 3, 3, pads=[1, 1, 1, 1]), 4), x))


def preactivation(b: Builder) -> str:
    """Pre-activation ResNet: BN → Relu → Conv twice on a residual stream, two blocks, a head.

    What the second block's first normalization shifts otherwise than the first's, the Conv in between takes up.
    """
    x = b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3, pads=[1, 1, 1, 1])
    for _ in range(2):
        hidden = b.conv(b("Relu", b.batch_norm(x, 4)), 4, 6, 3, 3, bias=False, pads=[1, 1, 1, 1])
        hidden = b.conv(b("Relu", b.batch_norm(hidden, 6)), 6, 4, 3, 3, bias=False, pads=[1, 1, 1, 1])
        x = b("Add", x, hidden)
    pooled = b("Flatten", b("GlobalAveragePool", b("Relu", b.batch_norm(x, 4))))
    return b("Gemm", pooled, b.normal(4, 5), b.normal(5))


def repvgg(b: Builder) -> str:
    """Three branches with BN each, one of them the identity with BN alone."""
    x = b("Relu", b.conv(b.input("N", 3, 6, 5), 3, 4, 1, 1))
    wide = b.batch_norm(b.conv(x, 4, 4, 3, 3, bias=False, pads=[1, 1, 1, 1]), 4)
    narrow = b.batch_norm(b.conv(x, 4, 4, 1, 1, bias=False), 4)
    return b("Relu", b("Sum", wide, narrow, x))


def channel_shuffle(b: Builder) -> str:
    """Grouped Conv → BN → shuffle → BN → grouped Conv."""
    hidden = b.batch_norm(b.conv(b.input("N", 4, 5, 3), 4, 6, 1, 1, group=2), 6)
    split = b("Reshape", hidden, b.integers(0, 2, 3, 5, 3))
    mixed = b("Reshape", b("Transpose", split, perm=[0, 2, 1, 3, 4]), b.integers(0, 6, 5, 3))
    return b.conv(b.batch_norm(mixed, 6), 6, 4, 1, 1, group=2)


def split_and_slice(b: Builder) -> str:
    """Conv → Split and Slice → a BN each."""
    hidden = b.conv(b.input("N", 3, 5, 4), 3, 7, 1, 1)
    b("Split", hidden, b.integers(2, 5), outputs=2, axis=1)
    first, second = b.last_outputs()
    third = b("Slice", second, b.integers(4), b.integers(0), b.integers(1), b.integers(-2))
    return b("Concat", b("Relu", b.batch_norm(first, 2)), b("Sigmoid", b.batch_norm(third, 2)), axis=1)


def focus(b: Builder) -> str:
    """SpaceToDepth → Conv → BN → Conv → DepthToSpace → BN over what remains."""
    hidden = b("SpaceToDepth", b.input("N", 3, 4, 6), blocksize=2)
    hidden = b("Relu", b.batch_norm(b.conv(hidden, 12, 5, 1, 1), 5))
    return b(
        "DepthToSpace", b.batch_norm(b.conv(hidden, 5, 8, 1, 1), 8, gamma=np.ones(8), variance=np.ones(8)), blocksize=2
    )


def decoder(b: Builder) -> str:
    """Conv → BN → Resize → Concat with a skip → BN → Conv, ConvTranspose → BN."""
    low = b.batch_norm(b.conv(b.input("N", 3, 4, 5), 3, 4, 1, 1), 4)
    up = b("Resize", low, None, b.stored([1, 1, 2, 2], dtype=np.float32), mode="linear")
    skip = b("ConvTranspose", low, b.normal(4, 2, 2, 2), strides=[2, 2])
    joined = b.batch_norm(b("Concat", up, b.batch_norm(skip, 2), axis=1), 6)
    return b.conv(joined, 6, 3, 3, 3)


def squeeze_and_excite(b: Builder) -> str:
    """x · σ(W·mean(x)) → Conv → BN, with BNs inside the gate."""
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 1, 1), 6)
    gate = b("Relu", b.batch_norm(b.conv(b("GlobalAveragePool", x), 6, 2, 1, 1), 2))
    gated = b("Mul", x, b("Sigmoid", b.conv(gate, 2, 6, 1, 1)))
    return b.batch_norm(b.conv(gated, 6, 5, 1, 1), 5)


def graph_layer(b: Builder) -> str:
    """A·(X·W) → BN over features with a constant adjacency, mean and variance such that no shift is left."""
    x = b("MatMul", b.input("N", 5, 3), b.normal(3, 4))
    mixed = b("MatMul", b.normal(5, 5), x)
    scaled = b("Mul", mixed, b.positive(4))
    return b("Relu", scaled)


def reflected(b: Builder) -> str:
    """Relu → BN → Pad by reflection → Conv without padding of its own."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 5, 4), 3, 4, 1, 1)), 4)
    return b.conv(b("Pad", hidden, b.integers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"), 4, 5, 3, 3)


def same_padded_pointwise(b: Builder) -> str:
    """Relu → BN → Conv 1×1 whose auto_pad SAME pads nothing."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 5, 4), 3, 4, 1, 1)), 4)
    return b.conv(hidden, 4, 5, 1, 1, auto_pad="SAME_UPPER", strides=[2, 2])


FREE: list[Network] = [
    conv_bn,
    conv_1d,
    conv_3d,
    depthwise,
    depth_multiplier,
    grouped,
    conv_transpose,
    relu_bn_max_pool_conv,
    relu_bn_average_pool_conv,
    concat_bn,
    concat_of_single_channels,
    flatten_gemm,
    global_average_pool_gemm,
    gemm,
    two_in_a_row,
    normalized_input,
    frozen_mul_add,
    frozen_sub_div_mul_add,
    several_consumers,
    channel_shuffle,
    split_and_slice,
    focus,
    decoder,
    reflected,
    same_padded_pointwise,
]


@pytest.mark.parametrize("network", FREE)
def test_folds_at_no_cost(network: Network) -> None:
    """Free rules take every normalization, and leave no arithmetic in its place."""
    folded = fold_checked(built(network))
    assert left(folded) == {}
    assert folded.report.kept_count == 0


MERGING: dict[Network, dict[str, int]] = {
    mean_matmul: {"Add": 1},
    token_linear: {"Add": 2},
    token_linear_as_rows: {"Add": 1},
    linear_flatten: {"Add": 1},
    residual: {"Add": 2},
    preactivation: {"Add": 2},
    repvgg: {},
    squeeze_and_excite: {"Mul": 1},
    graph_layer: {},
}
"""Networks in which arithmetic of their own stays: a MatMul's bias, an Add of two branches, a gate."""


@pytest.mark.parametrize("network", MERGING)
def test_folds_and_leaves_what_is_not_per_channel(network: Network) -> None:
    """The same where operators that are no normalization stay: as many as before, and no more."""
    folded = fold_checked(built(network))
    assert left(folded) == MERGING[network]


# At a price


def dense_block(b: Builder) -> str:
    """DenseNet: each layer normalizes all features so far for itself."""
    features = [b.conv(b.input("N", 3, 6, 5), 3, 4, 1, 1)]
    channels = 4
    for growth in (3, 2):
        joined = b("Concat", *features, axis=1) if len(features) > 1 else features[0]
        hidden = b.conv(b("Relu", b.batch_norm(joined, channels)), channels, 5, 1, 1, bias=False)
        features.append(b.conv(b("Relu", b.batch_norm(hidden, 5)), 5, growth, 3, 3, bias=False, pads=[1, 1, 1, 1]))
        channels += growth
    last = b("Relu", b.batch_norm(b("Concat", *features, axis=1), channels))
    return b("Gemm", b("Flatten", b("GlobalAveragePool", last)), b.normal(channels, 2))


def relu_bn_padded_conv(b: Builder) -> str:
    """Conv → Relu → BN → zero-padded Conv of static size."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 6, 5), 3, 4, 1, 1)), 4)
    return b.conv(hidden, 4, 5, 3, 2, pads=[1, 0, 2, 1], strides=[2, 1])


def relu_bn_max_pool_padded_conv(b: Builder) -> str:
    """Conv → Relu → BN → MaxPool → zero-padded Conv."""
    hidden = b.batch_norm(b("Relu", b.conv(b.input("N", 3, 8, 7), 3, 4, 2, 2)), 4)
    return b.conv(b("MaxPool", hidden, kernel_shape=[2, 2]), 4, 5, 3, 3, pads=[1, 1, 1, 1])


def gelu_bn_padded_conv(b: Builder) -> str:
    """Conv → GELU by Erf → BN → zero-padded depthwise Conv, as in ConvMixer."""
    x = b.conv(b.input("N", 3, 6, 5), 3, 4, 1, 1)
    gelu = b("Mul", b("Mul", x, b("Add", b("Erf", b("Div", x, b.stored(2**0.5))), b.stored(1.0))), b.stored(0.5))
    return b.conv(b.batch_norm(gelu, 4), 4, 4, 3, 3, group=4, auto_pad="SAME_LOWER")


@pytest.mark.parametrize(
    ("network", "kept"),
    [
        (dense_block, 2),
        (relu_bn_padded_conv, 1),
        (relu_bn_max_pool_padded_conv, 1),
        (gelu_bn_padded_conv, 1),
    ],
)
def test_what_has_a_price_is_kept_by_default(network: Network, kept: int) -> None:
    """A shift that only a threshold or a border map can carry: kept, since that is slower, with the operator named."""
    folded = fold_checked(built(network))
    refusals = [outcome for outcome in folded.report.batch_norms if not outcome.removed]
    assert len(refusals) == kept
    assert {outcome.reason for outcome in refusals} == {Reason.SLOWER}
    assert all(outcome.witness for outcome in refusals)


@pytest.mark.parametrize(
    "network", [dense_block, relu_bn_padded_conv, relu_bn_max_pool_padded_conv, gelu_bn_padded_conv]
)
def test_all_go_where_none_may_stay(network: Network) -> None:
    """With the objective no-bn thresholds and border maps let every one of them go."""
    folded = fold_checked(built(network), objective=Objective.NO_BN)
    assert folded.count("BatchNormalization") == 0


def test_a_shift_stays_in_front_of_a_graph_layer() -> None:
    """A·x mixes rows, so that a shift of x would be multiplied by A's row sums: kept, and MatMul is named."""
    b = Builder()
    mixed = b("MatMul", b.normal(5, 5), b.matmul(b.input("N", 5, 3), 3, 4, bias=False))
    normal = b.batch_norm(b("Transpose", mixed, perm=[0, 2, 1]), 4)
    (outcome,) = fold_checked(b.model(b("Relu", normal))).report.batch_norms
    assert outcome.reason is Reason.SHIFT_FIXED
    assert outcome.witness is not None
    assert "MatMul" in outcome.witness


# Old files


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 17, 20, 22])
@pytest.mark.parametrize("ir_version", [3, 8])
def test_every_opset_and_both_kinds_of_file(opset: int, ir_version: int) -> None:
    """From opset 7 and IR 3, whose inputs declare the initializers, to the newest."""

    def network(b: Builder) -> str:
        hidden = b("Relu", b.batch_norm(b.conv(b.input("N", 3, 6, 5), 3, 4, 2, 2), 4))
        hidden = b.batch_norm(b("MaxPool", hidden, kernel_shape=[2, 2]), 4)
        return b.batch_norm(b("Gemm", b("Flatten", b.conv(hidden, 4, 2, 1, 1)), b.normal(24, 7), b.normal(7)), 7)

    assert left(fold_checked(built(network, opset=opset, ir_version=ir_version))) == {}


def test_a_declaration_goes_with_its_initializer() -> None:
    """Where inputs declare the initializers, those of a removed normalization are no inputs any more."""
    folded = fold_checked(built(conv_bn, ir_version=3))
    assert {value.name for value in folded.model.graph.inputs} == {"x", *folded.model.graph.initializers}


def test_upsample() -> None:
    """Upsample, the Resize of opsets 7 to 9, carries all gauges."""
    b = Builder(opset=9)
    x = b.conv(b.input("N", 3, 4, 5), 3, 6, 1, 1)
    up = b("Upsample", x, b.stored([1.0, 1.0, 2.0, 3.0], dtype=np.float32), mode="nearest")
    assert left(fold_checked(b.model(b.batch_norm(up, 6)))) == {}


def test_a_constant_minus_a_value() -> None:
    """Conv → c − x → Sigmoid: the Conv takes up the sign as well."""
    b = Builder()
    hidden = b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3)
    assert left(fold_checked(b.model(b("Sigmoid", b("Sub", b.normal(4, 1, 1), hidden))))) == {}


def test_a_constant_minus_a_value_between_normalizations() -> None:
    """Conv → BN → c − x → BN → Relu → Conv: all three go."""
    b = Builder()
    hidden = b.batch_norm(b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3), 4)
    hidden = b("Relu", b.batch_norm(b("Sub", b.normal(4, 1, 1), hidden), 4))
    assert left(fold_checked(b.model(b.conv(hidden, 4, 2, 3, 3, pads=[1, 1, 1, 1])))) == {}


def test_a_constant_minus_a_rectified_value() -> None:
    """Relu → c − x → Relu: positive on both sides, so that it stays; scales pass, and BN goes before and behind it."""
    b = Builder()
    hidden = b("Relu", b.batch_norm(b.conv(b.input("N", 3, 6, 5), 3, 4, 3, 3), 4))
    hidden = b("Relu", b("Sub", b.normal(4, 1, 1), hidden))
    zero = np.zeros(4)
    assert left(fold_checked(b.model(b("Sigmoid", b.batch_norm(hidden, 4, mean=zero, beta=zero))))) == {"Sub": 1}


def test_two_constants_minus_one_value() -> None:
    """v = c − u can go, w = d − u cannot, and v + w has one scale: then both stay."""
    b = Builder()
    u = b.conv(b.input("N", 3, "H", "W"), 3, 4, 1, 1)
    v, w = (b("Sub", b.normal(4, 1, 1), u) for _ in range(2))
    padded = b.conv(b("Add", v, w), 4, 2, 3, 3, pads=[1, 1, 1, 1]), b.conv(w, 4, 2, 3, 3, pads=[1, 1, 1, 1])
    assert left(fold_checked(b.model(*padded, b.conv(v, 4, 2, 1, 1)))) == {"Sub": 2, "Add": 1}
