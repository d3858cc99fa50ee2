"""Tests of ``bnfold.population.calibrate``: the numbers, against the network written out in float64."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bnfold.errors import InputError
from bnfold.nn import convert
from bnfold.population import CalibrationReport, Estimator, KeptLayer, Reason, calibrate
from tests.population.networks import (
    EPS,
    Columns,
    Reused,
    classifier,
    columns,
    images,
    inputs_of_layers,
    randomize,
    statistics_of,
)

ROUNDING = 1e-12
"""Relative tolerance in float64: three layers of sums over at most a hundred products, condition numbers below ten."""


def pooled_of(minibatches: list[Columns]) -> tuple[Columns, Columns]:
    """Return mean and unbiased variance of all values."""
    values = np.concatenate(minibatches)
    return values.mean(axis=0), values.var(axis=0, ddof=1)


def algorithm_2_of(minibatches: list[Columns]) -> tuple[Columns, Columns]:
    """Return E_B[μ_B] and m/(m−1)·E_B[σ²_B]."""
    m = len(minibatches[0])
    variance = m / (m - 1) * np.mean([values.var(axis=0) for values in minibatches], axis=0)
    return np.mean([values.mean(axis=0) for values in minibatches], axis=0), variance


def assert_statistics(
    report: CalibrationReport, expected: dict[str, tuple[Columns, Columns]], tolerance: float
) -> None:
    """Hold the new statistics to the expected ones: means in units of std, variances relative."""
    assert [layer.name for layer in report.layers] == list(expected)
    for layer in report.layers:
        mean, variance = expected[layer.name]
        assert (np.abs(layer.new_mean - mean) <= tolerance * np.sqrt(variance)).all(), layer.name
        np.testing.assert_allclose(layer.new_variance, variance, rtol=tolerance, err_msg=layer.name)


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("estimator", "formula"), [(Estimator.POOLED, pooled_of), (Estimator.ALGORITHM_2, algorithm_2_of)]
)
def test_statistics_are_those_of_the_definition(
    estimator: Estimator, formula: Callable[[list[Columns]], tuple[Columns, Columns]], *, training: bool, ours: bool
) -> None:
    """Every layer of a network gets its estimator's formula, whatever mode it was in, with torch's modules and ours."""
    model = classifier().train(training)
    batches = images(24).split(8)
    expected = {name: formula(seen) for name, seen in inputs_of_layers(model, batches).items()}
    calibrated = convert(model) if ours else model
    report = calibrate(calibrated, batches, estimator=estimator)
    assert_statistics(report, expected, ROUNDING)
    for name, (mean, variance) in expected.items():
        np.testing.assert_allclose(calibrated.get_buffer(f"{name}.running_mean"), mean, rtol=1e-9)
        np.testing.assert_allclose(calibrated.get_buffer(f"{name}.running_var"), variance, rtol=1e-9)
    assert (report.estimator, report.samples, report.batches, report.kept) == (estimator, 24, 3, ())
    assert [layer.count for layer in report.layers] == [24 * 6 * 9, 24 * 5 * 8, 24]


def test_a_ragged_last_batch_weighs_by_its_count() -> None:
    """Pooled over batches of 8, 8 and 3: every value counts once."""
    model = classifier()
    batches = images(19).split(8)
    expected = {name: pooled_of(seen) for name, seen in inputs_of_layers(model, batches).items()}
    report = calibrate(model, batches, estimator=Estimator.POOLED)
    assert_statistics(report, expected, ROUNDING)
    assert report.samples == 19


def test_algorithm_2_leaves_a_ragged_last_batch_out() -> None:
    """The report says so, and does not count its samples."""
    model = classifier()
    batches = images(19).split(8)
    expected = {name: algorithm_2_of(seen) for name, seen in inputs_of_layers(model, batches[:2]).items()}
    report = calibrate(model, batches, estimator=Estimator.ALGORITHM_2)
    assert_statistics(report, expected, ROUNDING)
    assert (report.samples, report.batches) == (16, 2)
    assert "last batch (3 samples) was left out" in report.notes[0]


def test_the_order_of_the_batches_does_not_matter() -> None:
    """Pooled over the same minibatches in another order is the same up to rounding."""
    forwards, backwards = classifier(), classifier()
    batches = images(19).split(8)
    report = calibrate(forwards, batches, estimator=Estimator.POOLED)
    expected = {layer.name: (layer.new_mean, layer.new_variance) for layer in report.layers}
    assert_statistics(calibrate(backwards, batches[::-1], estimator=Estimator.POOLED), expected, ROUNDING)


def test_the_lowest_layer_does_not_depend_on_the_batch_size() -> None:
    """Below all normalization pooled statistics are those of the full batch, at any batch size, even one image."""
    model = classifier()
    full = pooled_of(inputs_of_layers(model, [images(24)])["bn1"])
    for size in (1, 7, 24):
        stem = nn.Sequential(copy.deepcopy(model.conv1), copy.deepcopy(model.bn1))
        report = calibrate(stem, images(24).split(size), estimator=Estimator.POOLED)
        assert_statistics(report, {"1": full}, ROUNDING)


def test_dropout_takes_no_part() -> None:
    """A network with dropout, in training mode, is calibrated as one without, and the same each time."""
    with_dropout, without = classifier(dropout=0.5).train(), classifier(dropout=0.0).train()
    calibrate(with_dropout, images(16).split(8))
    calibrate(without, images(16).split(8))
    for name, statistic in statistics_of(without).items():
        assert torch.equal(with_dropout.get_buffer(name), statistic), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precisions_get_float64_statistics(dtype: torch.dtype) -> None:
    """A network in float32 or half precision: statistics of what it really computes, rounded once when stored."""
    model, batches = classifier(dtype=dtype), images(24, dtype=dtype).split(8)
    wide = copy.deepcopy(model).double()
    expected = {
        name: pooled_of(seen) for name, seen in inputs_of_layers(wide, [batch.double() for batch in batches]).items()
    }
    report = calibrate(model, batches, estimator=Estimator.POOLED)
    # Every activation and intermediate sum is off by a few roundings, and layers amplify by less than ten.
    assert_statistics(report, expected, 20 * torch.finfo(dtype).eps)
    for layer in report.layers:
        buffer = model.get_buffer(f"{layer.name}.running_var")
        assert buffer.dtype == dtype
        assert torch.equal(buffer, torch.tensor(layer.new_variance).to(dtype))


@pytest.mark.parametrize("seed", range(3))
def test_large_means_keep_their_digits_where_torch_loses_them(seed: int) -> None:
    """At mean/std = 1e5 in float32: our variance is right to 1e-6, that of E[μ² + σ²] − E[μ]² is not to 1e-2."""
    values = (images(64, seed) * 1e-5 + 1.0).float()
    layer = nn.BatchNorm2d(3)
    mean, variance = pooled_of([columns(values)])
    assert (mean / np.sqrt(variance) > 0.9e5).all()
    statistics = calibrate(layer, values.split(8)).layers[0]
    np.testing.assert_allclose(statistics.new_variance, variance, rtol=1e-6)
    np.testing.assert_allclose(statistics.new_mean, mean, rtol=1e-9)
    batches = [batch.double() for batch in values.split(8)]
    squares = torch.stack([(batch.mean((0, 2, 3)).square() + batch.var((0, 2, 3))).float() for batch in batches]).mean(
        0
    )
    naive = squares - values.mean((0, 2, 3)).square()
    assert (np.abs(naive.numpy() / variance - 1) > 1e-2).any()


@pytest.mark.parametrize("size", [2, 7, 20])
def test_closer_to_the_full_batch_than_torch_s_update_bn(size: int) -> None:
    """One BN, ragged last batch: update_bn averages variances within minibatches and counts a short one in full."""
    values = images(64).float() + torch.linspace(0, 3, 64).view(-1, 1, 1, 1)
    ours, torchs = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    calibrate(ours, values.split(size))
    update_bn(values.split(size), torchs)
    mean, variance = pooled_of([columns(values)])
    for layer in (ours, torchs):
        error = np.abs(layer.get_buffer("running_var").numpy() / variance - 1).max()
        shift = np.abs(layer.get_buffer("running_mean").numpy() - mean).max()
        if layer is ours:
            assert max(error, shift) < 1e-6
        else:
            assert error > 1e-2


def test_a_layer_called_several_times_pools_its_calls() -> None:
    """A shared layer normalizes each call by itself and takes in the values of all of them, by count."""
    model = Reused().double()
    first, second = images(1)[0, 0, :, :4], images(1)[0, 1, :5, 4:8] + 2
    report = calibrate(model, [(first, second)], estimator=Estimator.POOLED)
    assert_statistics(report, {"norm": pooled_of([first.numpy(), second.numpy()])}, ROUNDING)
    assert report.layers[0].count == 11
    assert report.samples == 6


@pytest.mark.parametrize("shape", [(8, 4), (8, 4, 5), (8, 4, 5, 3), (8, 4, 5, 3, 2)])
def test_inputs_of_every_rank(shape: tuple[int, ...]) -> None:
    """(N, C), (N, C, L), (N, C, H, W) and (N, C, D, H, W)."""
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    values = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    report = calibrate(kind(4).double(), values.split(4))
    assert_statistics(report, {kind.__name__: pooled_of([columns(values)])}, ROUNDING)


def pairs() -> Iterator[tuple[Tensor, int]]:
    """Yield inputs with a label, which the model does not take."""
    for batch in images(16).split(8):
        yield batch, 3


@pytest.mark.parametrize(
    ("batches", "forward_fn"),
    [
        (images(16).split(8), None),
        ([(batch,) for batch in images(16).split(8)], None),
        ([[batch] for batch in images(16).split(8)], None),
        ([{"images": batch} for batch in images(16).split(8)], None),
        (pairs(), lambda model, batch: model(batch[0])),
        ([batch.numpy() for batch in images(16).split(8)], lambda model, batch: model(torch.from_numpy(batch))),
    ],
    ids=["tensor", "tuple", "list", "dict", "generator of pairs", "arrays"],
)
def test_every_form_of_batch(batches: list[object], forward_fn: Callable[[nn.Module, object], object] | None) -> None:
    """Tensors, positional and keyword arguments, and anything else through a forward function give the same."""
    model, reference = classifier(), classifier()
    calibrate(reference, images(16).split(8))
    report = calibrate(model, batches, forward_fn=forward_fn)
    assert report.samples == 16
    for name, statistic in statistics_of(reference).items():
        torch.testing.assert_close(model.get_buffer(name), statistic, rtol=ROUNDING, atol=ROUNDING)


def test_a_batch_of_no_known_form_is_refused() -> None:
    """A batch that cannot be passed to the model asks for a forward function."""
    with pytest.raises(InputError, match="expected a tensor, a tuple or a mapping, found str; pass a forward_fn"):
        calibrate(classifier(), ["images"])


def test_the_moving_average_is_reported_without_a_pass() -> None:
    """Nothing is read and nothing changes."""
    model = classifier()
    before = statistics_of(model)
    report = calibrate(model, iter([images(2)]), estimator=Estimator.MOVING_AVERAGE)
    assert (report.samples, [layer.count for layer in report.layers]) == (0, [0, 0, 0])
    assert [layer.mean_shift for layer in report.layers] == [0.0, 0.0, 0.0]
    assert "those that training tracked" in report.notes[0]
    assert all(torch.equal(model.get_buffer(name), statistic) for name, statistic in before.items())


def test_a_model_without_batch_norm_is_not_an_error() -> None:
    """There is nothing to do, and the report says so."""
    report = calibrate(nn.Linear(2, 3), [torch.ones(5, 2)])
    assert report.layers == ()
    assert report.notes == ("Nothing was recomputed: the model has no BN layer to calibrate.",)


def test_frozen_unreached_and_untracked_layers_stay_and_are_named() -> None:
    """A frozen layer also normalizes by its own statistics in the pass, as inference will."""
    model = classifier().train()
    model.bn1.eval()
    model.register_module("unused", nn.BatchNorm1d(2))
    model.register_module("none", nn.BatchNorm1d(2, track_running_stats=False))
    before = statistics_of(model)
    report = calibrate(model, images(16).split(8), estimator=Estimator.POOLED)
    kept = (
        KeptLayer("bn1", Reason.FROZEN),
        KeptLayer("none", Reason.UNTRACKED),
        KeptLayer("unused", Reason.UNREACHED),
    )
    assert report.kept == kept
    assert report.notes[-3:] == tuple(map(str, kept))
    changed = {name for name, statistic in statistics_of(model).items() if not torch.equal(statistic, before[name])}
    assert changed == {f"{layer}.running_{which}" for layer in ("bn2", "bn3") for which in ("mean", "var")}
    with torch.no_grad():
        inputs = torch.cat([model.conv2(model.bn1(model.conv1(batch)).relu()) for batch in images(16).split(8)])
    np.testing.assert_allclose(report.layers[0].new_mean, columns(inputs).mean(axis=0), rtol=1e-9)


def test_frozen_layers_are_calibrated_when_asked() -> None:
    """include_frozen treats them like all others."""
    model = classifier().train()
    model.bn1.eval()
    report = calibrate(model, images(16).split(8), include_frozen=True)
    assert [layer.name for layer in report.layers] == ["bn1", "bn2", "bn3"]


def test_a_compiled_model_is_calibrated_like_the_original() -> None:
    """Compiled code would pass by the layers' hooks, so it is run as written."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, eps=EPS)).double()
    randomize(model, seed=4)
    compiled = torch.compile(copy.deepcopy(model), backend="eager")
    assert isinstance(compiled, nn.Module)
    inputs = torch.randn(12, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    with torch.no_grad():
        compiled.eval()(inputs[:6])  # compiled in the state that the pass finds it in, or it would be compiled anew
    report = calibrate(model, inputs.split(6))
    compiled_report = calibrate(compiled, inputs.split(6))
    np.testing.assert_allclose(compiled_report.layers[0].new_mean, report.layers[0].new_mean, rtol=ROUNDING)
    after = compiled.eval()(inputs)
    torch.testing.assert_close(after, model.eval()(inputs), rtol=ROUNDING, atol=ROUNDING)
