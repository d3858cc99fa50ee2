"""Tests of ``bnfold.population_onnx.calibrate``: against the torch route, on the same networks and data."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from torch import nn

from bnfold.errors import InputError
from bnfold.graph.capture import capture
from bnfold.population import CalibrationReport, Estimator, Reason
from bnfold.population import calibrate as calibrate_torch
from bnfold.population_onnx import calibrate
from tests.cli.running import child_environment
from tests.population.families import FAMILIES, SAMPLES, family, pictures
from tests.population.networks import randomize
from tests.population.uncaptured import Recurrent, Towers

AGREEMENT = 1e-5
"""Two runtimes whose float32 activations are each off by some roundings of 6e-8."""


MODELS: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(family, name) for name in FAMILIES},
    "towers": lambda: randomized(Towers()),
    "recurrent": lambda: randomized(Recurrent()),
}


def randomized(model: nn.Module) -> nn.Module:
    """Return the model with random parameters and statistics."""
    randomize(model, seed=5)
    return model


def graph_of(name: str, *, fixed_batch: int | None = None) -> ir.Model:
    """Return the ONNX graph of a network over `pictures`, a copy that can be edited."""
    return ir.from_proto(onnx.ModelProto.FromString(_captured(name, fixed_batch)))


@cache
def _captured(name: str, fixed_batch: int | None) -> bytes:
    names = ["x0", "x1"] if name == "towers" else ["x0"]
    examples = tuple(pictures()[: fixed_batch or 2] for _ in names)
    graph = capture(MODELS[name]().eval(), examples, input_names=names, dynamic_batch=fixed_batch is None)
    return ir.to_proto(graph).SerializeToString()


def assert_same(found: CalibrationReport, expected: CalibrationReport) -> None:
    """Hold statistics and standard errors to another route's; means in standard deviations, the others relative."""
    theirs = {layer.name.removesuffix("/BatchNormalization"): layer for layer in expected.layers}
    ours = {layer.name.removesuffix("/BatchNormalization"): layer for layer in found.layers}
    assert set(ours) == set(theirs)
    for name, layer in ours.items():
        other = theirs[name]
        assert layer.count == other.count
        assert (np.abs(layer.new_mean - other.new_mean) <= AGREEMENT * np.sqrt(other.new_variance)).all()
        np.testing.assert_allclose(layer.new_variance, other.new_variance, rtol=AGREEMENT)
        for ours_, theirs_ in ((layer.mean_error, other.mean_error), (layer.variance_error, other.variance_error)):
            assert ours_ is not None
            assert theirs_ is not None
            # Sums of squares of differences between samples: as many roundings, amplified a little.
            np.testing.assert_allclose(ours_, theirs_, rtol=100 * AGREEMENT)


@pytest.mark.parametrize("estimator", [Estimator.SELF_CONSISTENT, Estimator.POOLED, Estimator.ALGORITHM_2])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_statistics_are_those_of_the_torch_route(name: str, estimator: Estimator) -> None:
    """Every estimator, every family, batches with a ragged end: the same means, variances and errors to 1e-5."""
    graph = graph_of(name)
    expected = calibrate_torch(family(name), pictures().split(43), estimator=estimator)
    found = calibrate(graph, {"x0": pictures().numpy()}, estimator=estimator, batch_size=43)
    assert_same(found, expected)
    assert (found.samples, found.batches) == (expected.samples, expected.batches)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_graph_then_holds_them(name: str) -> None:
    """A second calibration finds, as the old statistics, the new ones of the first; nothing else has changed."""
    graph = graph_of(name)
    others = {n: v.const_value.numpy() for n, v in graph.graph.initializers.items() if "running" not in n}  # type: ignore[union-attr]
    first = calibrate(graph, {"x0": pictures().numpy()})
    second = calibrate(graph, {"x0": pictures().numpy()}, estimator=Estimator.MOVING_AVERAGE)
    for before, after in zip(first.layers, second.layers, strict=True):
        np.testing.assert_array_equal(after.old_mean, before.new_mean.astype(np.float32))
        np.testing.assert_array_equal(after.old_variance, before.new_variance.astype(np.float32))
    for n, array in others.items():
        np.testing.assert_array_equal(graph.graph.initializers[n].const_value.numpy(), array)  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [1, 32, SAMPLES])
def test_neither_batch_size_nor_memory_matter(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Self-consistent statistics are those of one batch of everything, also where all has to wait on disk."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    expected = calibrate(graph_of("residual"), {"x0": pictures().numpy()}, batch_size=SAMPLES)
    found = calibrate(graph_of("residual"), {"x0": pictures().numpy()}, batch_size=size, memory_budget=0)
    assert_same(found, expected)
    assert any("went through the disk" in note for note in found.notes)
    assert list(tmp_path.iterdir()) == []


def test_shared_layers_take_in_all_calls() -> None:
    """Two towers through the same layers: one mean and variance for both calls, as the torch route finds them."""
    inputs = pictures(), pictures().flip(0) * 2 + 1
    expected = calibrate_torch(MODELS["towers"](), [inputs])
    found = calibrate(graph_of("towers"), {"x0": inputs[0].numpy(), "x1": inputs[1].numpy()})
    assert len(found.layers) == 3
    assert_same(found, expected)


def test_layers_that_deduplication_made_look_shared_are_apart() -> None:
    """Before training every BN has the same tensors; stored once, they are still those of different layers."""
    graph = graph_of("plain")
    norms = [node for node in graph.graph if node.op_type == "BatchNormalization"]
    statistics = [ir.val(f"fresh_{i}", const_value=ir.Tensor(np.full(4, i, np.float32))) for i in (0, 1)]
    for value in statistics:
        graph.graph.register_initializer(value)
    stem, extra = norms[0], ir.node("BatchNormalization", [norms[0].outputs[0], *norms[0].inputs[1:]], name="extra")
    for user, index in tuple(stem.outputs[0].uses()):
        if user is not extra:
            user.replace_input_with(index, extra.outputs[0])
    graph.graph.insert_after(stem, extra)
    for node in (stem, extra):
        for position, value in zip((3, 4), statistics, strict=True):
            node.replace_input_with(position, value)
    report = calibrate(graph, {"x0": pictures().numpy()})
    first, second = (next(layer for layer in report.layers if layer.name == n) for n in (stem.name, "extra"))
    assert (np.abs(first.new_mean - second.new_mean) > 0.01).any()
    stored = [node.inputs[3].const_value.numpy() for node in (stem, extra)]  # type: ignore[union-attr]
    np.testing.assert_array_equal(stored, [layer.new_mean.astype(np.float32) for layer in (first, second)])


def test_a_layer_that_reads_its_own_output_is_kept() -> None:
    """What has no place in the order of the layers stays as it is, and is named."""
    report = calibrate(graph_of("recurrent"), {"x0": pictures().numpy()})
    assert [layer.reason for layer in report.kept] == [Reason.RECURRENT]
    assert report.layers == ()
    assert (report.samples, report.notes[0]) == (0, "Nothing was recomputed: the model has no BN layer to calibrate.")


def test_a_fixed_batch_leaves_the_rest_out() -> None:
    """A graph for batches of 50 takes six of them, and the report says what became of the other 7 samples."""
    graph = graph_of("plain", fixed_batch=50)
    report = calibrate(graph, {"x0": pictures().numpy()})
    assert (report.samples, report.batches) == (300, 6)
    assert "the last 7 samples were left out" in report.notes[0]


def test_enough_samples_are_enough() -> None:
    """With a goal for the error, reading stops when it is met."""
    report = calibrate(graph_of("plain"), {"x0": pictures().numpy()}, until_relative_error=0.3, batch_size=16)
    assert 32 <= report.samples < SAMPLES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x0": pictures().numpy() * np.nan}, "its input is not finite"),
        ({"wrong": pictures().numpy()}, "the graph expects x0"),
        ({"x0": pictures().numpy()[:0]}, "samples, found 0"),
    ],
)
def test_bad_inputs_change_nothing(change: dict[str, np.ndarray], message: str) -> None:
    """One line, and the graph as it was."""
    graph = graph_of("plain")
    before = ir.to_proto(graph).SerializeToString(deterministic=True)
    with pytest.raises(InputError, match=message):
        calibrate(graph, change)
    assert ir.to_proto(graph).SerializeToString(deterministic=True) == before


def test_it_needs_no_torch() -> None:
    """Calibrating an ONNX graph imports torch nowhere."""
    program = "import sys, bnfold.population_onnx as p, bnfold.population.rounds; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, env=child_environment())
