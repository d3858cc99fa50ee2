"""Einsum: as a linear operator by a constant, and where it lets the gauge of an activation pass."""

import numpy as np
import pytest

from bnfold.folding import Objective
from tests.folding.builder import Builder
from tests.folding.checker import fold_checked


@pytest.mark.parametrize(
    ("equation", "dims", "weight"),
    [
        ("nchw,oc->nohw", (2, 3, 5, 4), (6, 3)),  # a pointwise convolution
        ("oc,nchw->nohw", (2, 3, 5, 4), (6, 3)),  # its weight on the left
        ("nchw,co->nhwo", (2, 3, 5, 4), (3, 6)),  # channels last behind it
        ("bcl,cd", (2, 3, 4), (3, 6)),  # the result in alphabetic order
        ("bc...,oc->bo...", (2, 3, 5, 4), (6, 3)),
        ("nchw,ocij->noijhw", (2, 3, 5, 4), (6, 3, 2, 2)),  # several axes of output channels
        ("bcl,chl->bch", (2, 3, 4), (3, 5, 4)),  # an axis that is summed over, and one that both share
    ],
)
def test_the_normalization_in_front_is_taken_up(equation: str, dims: tuple[int, ...], weight: tuple[int, ...]) -> None:
    """BN → Einsum by a constant: no BN is left; what its shift adds is a bias behind."""
    b = Builder()
    x = b.batch_norm(b.input(*dims), dims[1])
    operands = [x, b.normal(*weight)]
    y = b("Einsum", *(reversed(operands) if equation.startswith("oc") else operands), equation=equation)
    folded = fold_checked(b.model(y))
    assert folded.count("BatchNormalization") == 0
    assert folded.count("Add") == 1


def test_a_linear_layer_of_a_transformer() -> None:
    """Arithmetic along the last axis is taken up by the constant."""
    b = Builder()
    x = b("Add", b("Mul", b.input(2, 5, 4), b.positive(4)), b.normal(4))
    folded = fold_checked(b.model(b("Einsum", x, b.normal(4, 6), equation="bnd,de->bne")))
    assert [node.op_type for node in folded.model.graph] == ["Einsum", "Add"]


@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1, 1), (1,)])
def test_a_bias_behind_takes_up_what_comes_from_both_sides(shape: tuple[int, ...]) -> None:
    """BN → Einsum → Add → BN → Relu is Einsum → Add → Relu, whatever the bias's shape was."""
    b = Builder()
    x = b.batch_norm(b.input(2, 3, 5, 4), 3)
    y = b("Add", b("Einsum", x, b.normal(6, 3), equation="nchw,oc->nohw"), b.normal(*shape))
    folded = fold_checked(b.model(b("Relu", b.batch_norm(y, 6))))
    assert [node.op_type for node in folded.model.graph] == ["Einsum", "Add", "Relu"]


def test_an_addend_that_varies_along_other_axes_is_no_bias() -> None:
    """A position embedding behind an Einsum stays as it is in form, and takes up what it can."""
    b = Builder()
    y = b("Einsum", b.input(2, 3, 5, 4), b.normal(6, 3), equation="nchw,oc->nohw")
    z = b("Relu", b.batch_norm(b("Add", y, b.normal(6, 5, 1)), 6))
    folded = fold_checked(b.model(z))
    assert [node.op_type for node in folded.model.graph] == ["Einsum", "Add", "Relu"]


@pytest.mark.parametrize(
    ("equation", "passes"),
    [
        ("bhij,bhjd->bhid", True),  # attention applied to values: their channels stay
        ("bhid,bhjd->bhij", False),  # rows by rows: the channels are summed over, and one scale is left
    ],
)
def test_attention(equation: str, passes: bool) -> None:
    """A factor for each channel of the second operand is taken up in front if the channels are in the result."""
    b = Builder()
    x = b.input(2, 3, 4, 4)
    values = b("Mul", b("MatMul", x, b.normal(4, 4)), b.positive(4))
    y = b("Einsum", b("Softmax", x), values, equation=equation)
    folded = fold_checked(b.model(b("MatMul", y, b.normal(4, 4))))
    assert folded.count("Mul") == 0  # the MatMul in front takes it up in any case
    b = Builder()
    x = b.input(2, 3, 4, 4)
    y = b("Einsum", b("Softmax", x), b("MatMul", x, b.normal(4, 4)), equation=equation)
    folded = fold_checked(b.model(b("Mul", y, b.positive(4))))
    assert folded.count("Mul") == (not passes)


def test_one_scale_passes_the_product_of_queries_and_keys() -> None:
    """The division by √d of attention scores goes into a weight in front."""
    b = Builder()
    x = b.input(2, 3, 4, 5)
    q, k = (b("MatMul", x, b.normal(5, 8)) for _ in range(2))
    scores = b("Div", b("Einsum", q, k, equation="bhid,bhjd->bhij"), b.stored(8**0.5))
    folded = fold_checked(b.model(b("Softmax", scores)))
    assert folded.count("Div") == 0


def test_a_permutation_lets_shifts_pass() -> None:
    """Conv → Einsum that moves axes → Add along the channels → Relu: the Conv takes it up."""
    b = Builder()
    y = b("Einsum", b.conv(b.input(2, 3, 5, 4), 3, 6, 1, 1), equation="nchw->nhwc")
    folded = fold_checked(b.model(b("Relu", b("Add", y, b.normal(6)))))
    assert [node.op_type for node in folded.model.graph] == ["Conv", "Einsum", "Relu"]


@pytest.mark.parametrize("equation", ["nchw->nc", "nchw,nchw->nchw", "nchw,nc->nchw", "nchw,hw->nc", "nchw,cd->nd"])
def test_a_shift_stays_in_front_of_a_sum_or_a_product(equation: str) -> None:
    """What is summed over would count a shift more than once; a product would mix it with the other operand."""
    b = Builder()
    x = b.input(2, 3, 5, 4)
    second = {"nchw": x, "nc": b("ReduceMax", x, axes=[2, 3], keepdims=0), "hw": b.normal(5, 4), "cd": b.normal(3, 6)}
    others = equation.partition("->")[0].split(",")[1:]
    operands = [b.batch_norm(b.conv(x, 3, 3, 1, 1), 3), *(second[axes] for axes in others)]
    fold_checked(b.model(b("Einsum", *operands, equation=equation)), objective=Objective.NO_BN)


@pytest.mark.parametrize("first", [True, False])
def test_the_other_operand_of_a_product_of_activations_stays_as_it_is(first: bool) -> None:
    """A factor that no weight in front can take up is not left to be taken up behind, whichever operand it is."""
    b = Builder()
    x = b.input(2, 3, 5, 4)
    conv = b.conv(x, 3, 3, 1, 1)
    scaled = b("Mul", b("Sigmoid", x), b.positive(3, 1, 1))
    operands = (scaled, conv) if first else (conv, scaled)
    folded = fold_checked(b.model(b("Einsum", *operands, equation="nchw,nchw->nchw")))
    assert folded.count("Mul") == 1


@pytest.mark.parametrize("equation", ["iijj->ij", "nchw,->nchw"])
def test_what_cannot_be_followed(equation: str) -> None:
    """A diagonal, or a product with a number, holds what it reads, or passes it; the result is the same."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input(3, 3, 4, 4), 3, 3, 1, 1), 3)
    operands = [x] if equation.startswith("ii") else [x, b.stored(2.0)]
    folded = fold_checked(b.model(b("Einsum", *operands, equation=equation)))
    assert folded.count("BatchNormalization") == equation.startswith("ii") * (not folded.report.removed_count)


def test_an_axis_of_extent_1_that_is_broadcast() -> None:
    """A weight of extent 1 along an axis of x is no linear operator by that axis; nothing is wrong."""
    b = Builder()
    x = b.batch_norm(b.input(2, 3, 4), 3)
    model = b.model(b("Einsum", x, b.normal(3, 1), equation="bcl,cl->bl"))
    with np.errstate(all="ignore"):
        fold_checked(model)
