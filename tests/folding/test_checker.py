"""The checker itself: it accepts a fold made by hand, and sees every fault that is planted in one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.folding import Change, FoldReport, Outcome, Reason, fold
from tests.folding import checker
from tests.folding.builder import EPSILON, Builder


def network() -> ir.Model:
    """Return images → Conv (3 → 4) → BN → Relu → Conv (4 → 5), all weights in float64."""
    b = Builder()
    x = b.input("N", 3, 6, 5)
    hidden = b("Relu", b.batch_norm(b.conv(x, 3, 4, 2, 2), 4, name="bn"))
    return b.model(b.conv(hidden, 4, 5, 1, 1))


def folded() -> tuple[ir.Model, FoldReport]:
    """Return the network folded, with the report."""
    model = network()
    return model, fold(model)


def stored(model: ir.Model, op_type: str, slot: int) -> ir.Value:
    """Return the initializer that the first node of a type reads."""
    value = next(node for node in model.graph if node.op_type == op_type).inputs[slot]
    assert value is not None
    return value


def change(value: ir.Value, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace an initializer's content."""
    assert value.const_value is not None
    value.const_value = ir.Tensor(edit(value.const_value.numpy().copy()), name=value.name)


def content(model: ir.Model, op_type: str, slot: int) -> np.ndarray:
    """Return the content of what the first node of a type reads."""
    tensor = stored(model, op_type, slot).const_value
    assert tensor is not None
    return tensor.numpy()


def test_a_right_fold_passes() -> None:
    """What the engine makes of Conv → BN is accepted in every respect."""
    result = checker.fold_checked(network())
    assert result.count("BatchNormalization") == 0


def wrong_epsilon(model: ir.Model) -> None:
    """Fold with ε a thousandth too large."""
    variance = content(network(), "BatchNormalization", 4)
    factor = np.sqrt((variance + EPSILON) / (variance + 1.001 * EPSILON))
    change(stored(model, "Conv", 1), lambda weight: weight * factor[:, None, None, None])


def missing_epsilon(model: ir.Model) -> None:
    """Fold without ε."""
    variance = content(network(), "BatchNormalization", 4)
    factor = np.sqrt((variance + EPSILON) / variance)
    change(stored(model, "Conv", 1), lambda weight: weight * factor[:, None, None, None])


def unscaled_bias(model: ir.Model) -> None:
    """Leave the convolution's own bias out of the scaling."""
    original = network()
    scale = content(original, "BatchNormalization", 1) / np.sqrt(content(original, "BatchNormalization", 4) + EPSILON)
    bias = content(original, "Conv", 2)
    change(stored(model, "Conv", 2), lambda folded: folded - bias * scale + bias)


def swapped_channels(model: ir.Model) -> None:
    """Exchange two output channels of the weight."""
    change(stored(model, "Conv", 1), lambda weight: weight[[1, 0, 2, 3]])


def swapped_kernel_axes(model: ir.Model) -> None:
    """Mirror the kernel."""
    change(stored(model, "Conv", 1), lambda weight: weight[..., ::-1])


def last_digits(model: ir.Model) -> None:
    """Round one weight to float32."""
    change(stored(model, "Conv", 1), lambda weight: weight.astype(np.float32).astype(np.float64))


@pytest.mark.parametrize(
    "fault", [wrong_epsilon, missing_epsilon, unscaled_bias, swapped_channels, swapped_kernel_axes, last_digits]
)
def test_wrong_numbers_are_seen(fault: Callable[[ir.Model], None]) -> None:
    """Each classical mistake in the folded weights is a difference in the outputs."""
    original, (candidate, _) = network(), folded()
    fault(candidate)
    with pytest.raises(AssertionError, match="off by"):
        checker.check_results(original, candidate, checker.random_inputs(original))


def test_another_shape_is_seen() -> None:
    """An output that broadcasts to the expected shape is not the expected output."""
    original, (candidate, _) = network(), folded()
    last = candidate.graph[-1]
    change(last.inputs[1], lambda weight: weight[:1])  # pyright: ignore[reportArgumentType]  (a Conv has its weight)
    change(last.inputs[2], lambda bias: bias[:1])  # pyright: ignore[reportArgumentType]  (this one has a bias)
    with pytest.raises(AssertionError, match="shape"):
        checker.check_results(original, candidate, checker.random_inputs(original))


def test_a_renamed_output_is_seen() -> None:
    """Callers fetch outputs by name."""
    original, (candidate, _) = network(), folded()
    candidate.graph.outputs[0].name = "other"
    with pytest.raises(AssertionError, match="outputs changed"):
        checker.check_signature(original, candidate)


def test_a_lost_symbol_is_seen() -> None:
    """A dynamic batch must stay dynamic."""
    original, (candidate, _) = network(), folded()
    candidate.graph.inputs[0].shape = ir.Shape([2, 3, 6, 5])
    with pytest.raises(AssertionError, match="inputs changed"):
        checker.check_signature(original, candidate)


def test_a_number_that_is_not_finite_is_seen() -> None:
    """An overflow that no output shows is a fault all the same."""
    candidate, _ = folded()
    change(stored(candidate, "Conv", 2), lambda bias: np.where(bias == bias[0], np.inf, bias))
    with pytest.raises(AssertionError, match="not finite"):
        checker.check_valid(candidate)


def claims_kept(report: FoldReport) -> FoldReport:
    """Report a normalization as kept that is gone."""
    return replace(report, batch_norms=(Outcome("bn", (), Reason.SHIFT_FIXED, None, "words"),))


def forgets_one(report: FoldReport) -> FoldReport:
    """Report no normalization at all."""
    return replace(report, batch_norms=())


def miscounts(report: FoldReport) -> FoldReport:
    """Report one node too few after the fold."""
    return replace(report, nodes=Change(report.nodes.before, report.nodes.after - 1))


def says_nothing(report: FoldReport) -> FoldReport:
    """Report without words."""
    return replace(report, batch_norms=(replace(report.batch_norms[0], detail=""),))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (claims_kept, "does not fit the graph"),
        (forgets_one, "not one outcome for each"),
        (miscounts, "nodes"),
        (says_nothing, "no words"),
    ],
)
def test_a_false_account_is_seen(fault: Callable[[FoldReport], FoldReport], message: str) -> None:
    """A report that does not fit the graphs is a fault."""
    original, (candidate, report) = network(), folded()
    checker.check_account(original, candidate, report)
    with pytest.raises(AssertionError, match=message):
        checker.check_account(original, candidate, fault(report))


def test_what_can_still_be_folded_is_seen() -> None:
    """An unfolded graph is not a folded one."""
    with pytest.raises(AssertionError, match=r"folding again removes \['bn'\]"):
        checker.check_idempotent(network())
