"""Tests of the self-consistent estimator: independent of batch size, order and way, and equal to the full batch."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.population import CalibrationReport, Estimator, calibrate
from bnfold.population.minibatch import Call, measured_calls
from tests.population.families import FAMILIES, SAMPLES, family, full_batch, furthest, pictures
from tests.population.networks import Columns, columns, randomize
from tests.population.uncaptured import Branching, Recurrent, Towers

INDEPENDENT = 1e-5
"""What the estimator promises: float32 activations, off by some roundings of 6e-8 in up to a hundred products."""

EXACT = 1e-9
"""The same in float64 at mean/std up to 1e5: as many roundings of 1e-16, amplified by as much, and some more."""


def found(report: CalibrationReport) -> dict[str, tuple[Columns, Columns]]:
    """Return the new statistics by layer."""
    return {layer.name: (layer.new_mean, layer.new_variance) for layer in report.layers}


def forward(model: nn.Module, batch: object) -> object:
    """Run the model; given to ``calibrate``, it keeps the model from being captured."""
    return model(batch)


@pytest.mark.parametrize("name", FAMILIES)
@given(
    size=st.sampled_from([1, 2, 7, 32, 300, SAMPLES]),
    order=st.permutations(range(SAMPLES)),
    captured=st.booleans(),
)
@settings(max_examples=10)
def test_the_statistics_are_those_of_the_full_batch(name: str, size: int, order: list[int], *, captured: bool) -> None:
    """Any batch size, ragged or not, any order, walked or in passes: the float64 full batch to 1e-5."""
    model = family(name)
    report = calibrate(model, pictures()[order].split(size), forward_fn=None if captured else forward)
    assert report.samples == SAMPLES
    assert furthest(found(report), full_batch(family(name), pictures())) < INDEPENDENT
    for layer, (mean, variance) in found(report).items():
        np.testing.assert_array_equal(model.get_buffer(f"{layer}.running_mean"), mean.astype(np.float32))
        np.testing.assert_array_equal(model.get_buffer(f"{layer}.running_var"), variance.astype(np.float32))


@pytest.mark.parametrize("ratio", [0.0, 1e3, 1e5])
@pytest.mark.parametrize("name", FAMILIES)
def test_large_means_are_no_harm(name: str, ratio: float) -> None:
    """At mean/std up to 1e5 of the inputs, in a float64 network, whose convolutions keep the digits."""
    inputs = pictures(ratio, torch.float64)
    report = calibrate(family(name, torch.float64), inputs.split(32))
    assert furthest(found(report), full_batch(family(name), inputs)) < EXACT


@pytest.mark.parametrize("levels", [(0.0, 1e3), (0.0, 1e3, 0.0), (1e3, 0.0, 0.0)])
def test_portions_far_from_the_one_before_keep_their_digits(levels: tuple[float, ...]) -> None:
    """Batches of different extents, which are never joined, at levels that differ: float32 statistics of all values."""
    generator = torch.Generator().manual_seed(3)
    batches = [torch.randn(5, 3, 40 + k, generator=generator) + level for k, level in enumerate(levels)]
    (layer,) = calibrate(nn.Sequential(nn.BatchNorm1d(3)), batches).layers
    values = np.concatenate([columns(batch) for batch in batches])
    # Sums of squares in float32, of which 3 bits are lost, each of some roundings.
    np.testing.assert_allclose(layer.new_variance, values.var(axis=0, ddof=1), rtol=8 * 16 * 2.0**-24)
    np.testing.assert_allclose(layer.new_mean, values.mean(axis=0), rtol=0, atol=16 * 2.0**-24 * values.std())


def test_portions_are_measured_about_zero_where_the_one_before_was_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one never is, and one that proves to be far from 0 ends it."""
    seen: list[bool] = []

    def watched(*args: Any, about_zero: bool) -> list[Call]:
        seen.append(about_zero)
        return measured_calls(*args, about_zero=about_zero)

    monkeypatch.setattr("bnfold.population.walk.measured_calls", watched)
    levels = [0.0, 0.0, 1e3, 1e3, 0.0, 0.0]
    calibrate(nn.Sequential(nn.BatchNorm1d(3)), [torch.randn(5, 3, 40 + k) + x for k, x in enumerate(levels)])
    assert seen == [False, True, True, False, False, True]


@pytest.mark.parametrize("name", FAMILIES)
def test_pooled_statistics_would_not_pass(name: str) -> None:
    """The property tells the estimators apart: pooled ones at batch size 7 are off by far more than the tolerance."""
    report = calibrate(family(name), pictures().split(7), estimator=Estimator.POOLED)
    assert furthest(found(report), full_batch(family(name), pictures())) > 100 * INDEPENDENT


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_waits_on_disk_comes_back_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, captured: bool
) -> None:
    """With no memory to hold anything the statistics are the same to the last bit, and the disk is empty again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    forward_fn = None if captured else forward
    in_memory = calibrate(family(name), pictures().split(32), forward_fn=forward_fn)
    on_disk = calibrate(family(name), pictures().split(32), forward_fn=forward_fn, memory_budget=0)
    for layer, (mean, variance) in found(in_memory).items():
        np.testing.assert_array_equal(found(on_disk)[layer][0], mean)
        np.testing.assert_array_equal(found(on_disk)[layer][1], variance)
    assert any("MiB did not fit" in note for note in on_disk.notes) == captured
    assert not any("MiB did not fit" in note for note in in_memory.notes)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_on_disk_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that is not finite, found in the last layer, leaves no files behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = family("plain")
    model.get_parameter("4.0.weight").data[0] = torch.nan
    with pytest.raises(InputError, match=r"BN layer 4\.1: its input is not finite"):
        calibrate(model, pictures().split(32), memory_budget=0)
    assert list(tmp_path.iterdir()) == []


def test_each_step_runs_once_on_each_batch() -> None:
    """Whatever the number of BN layers: one pass, and nothing behind the last of them."""
    model = nn.Sequential(*(nn.Sequential(nn.Identity(), nn.BatchNorm2d(3)) for _ in range(4)), nn.Identity())
    runs: list[int] = []
    for index, part in enumerate(model.modules()):
        if isinstance(part, nn.Identity):
            part.register_forward_hook(lambda *_, index=index: runs.append(index))
    calibrate(model, pictures().split(100))
    identities = [index for index, part in enumerate(model.modules()) if isinstance(part, nn.Identity)]
    assert sorted(runs) == sorted(4 * identities[:-1])


def test_the_passes_stop_at_the_layer_in_question() -> None:
    """A model that is not captured runs whole once, and then layer k with nothing behind it."""
    model = family("plain")
    runs = [0, 0, 0]
    for index in range(3):
        model.get_submodule(f"{2 * index}.0").register_forward_hook(
            lambda *_, index=index: runs.__setitem__(index, runs[index] + 1)
        )
    calibrate(model, [pictures()], forward_fn=forward)
    assert runs == [4, 3, 2]


def record(seen: list[Columns], _: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Keep what a layer is given."""
    seen.append(columns(args[0]))


def seen_at_inference(model: nn.Module, batches: Sequence[object]) -> dict[str, tuple[Columns, Columns]]:
    """Return mean and unbiased variance of what every BN layer is given, all calls, by the calibrated model itself."""
    inputs: dict[str, list[Columns]] = {}
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(partial(record, inputs.setdefault(name, [])))
    model.eval()
    with torch.no_grad():
        for batch in batches:
            model(*batch) if isinstance(batch, tuple) else model(batch)
    joined = {name: np.concatenate(seen) for name, seen in inputs.items()}
    return {name: (values.mean(axis=0), values.var(axis=0, ddof=1)) for name, values in joined.items()}


def double(model: nn.Module) -> nn.Module:
    """Return the model in float64 with random parameters."""
    randomize(model, seed=8)
    return model.double()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Branching, "torch.fx cannot capture it"),
        (Towers, r"BN layer shared\.1 is called 2 times"),
        (Recurrent, "BN layer norm is called 3 times"),
    ],
)
@pytest.mark.parametrize("size", [50, 120])
def test_models_that_are_not_captured_get_what_inference_sees(
    make: Callable[[], nn.Module], reason: str, size: int
) -> None:
    """Data-dependent branches, shared towers, recurrence: what is stored are the statistics of inference."""
    inputs = pictures(0.9, torch.float64)
    batches: list[object] = list(inputs.split(size))
    if make is Towers:
        batches = [(batch, batch.flip(0) * 2 + 1) for batch in inputs.split(size)]
    model = double(make())
    report = calibrate(model, batches)
    assert any("took a pass for every BN layer" in note and reason.replace("\\", "") in note for note in report.notes)
    # What is steady to 1e-6 from pass to pass is as far from the fixed point, and the layers hardly amplify.
    assert furthest(found(report), seen_at_inference(model, batches)) < INDEPENDENT


def test_statistics_that_never_become_steady_are_told() -> None:
    """A layer that reverses what it has done is the user's to look at; the note says so, and the passes end."""

    class Flipping(Recurrent):
        def forward(self, values: Tensor) -> Tensor:
            hidden = self.norm(values)
            return self.norm(60 * (hidden.mean() > 0.03).double() - hidden.square())

    model = Flipping().double()
    report = calibrate(model, [pictures(0.9, torch.float64)])
    assert any("did not become steady" in note for note in report.notes)


def test_arguments_that_change_from_batch_to_batch_are_refused() -> None:
    """A captured model is that of one kind of batch: with a mask, or without."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
            return self.norm(values if mask is None else values * mask)

    values, mask = pictures()[:8], torch.ones(8, 1, 6, 5)
    mask[3:] = 0
    without, with_mask = calibrate(Masked(), [values]), calibrate(Masked(), [{"values": values, "mask": mask}])
    np.testing.assert_allclose(without.layers[0].new_mean, columns(values).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(with_mask.layers[0].new_mean, columns(values * mask).mean(axis=0), rtol=1e-5)
    with pytest.raises(InputError, match="mask is no constant, in the first batch None"):
        calibrate(Masked(), [values, (values, mask)])
