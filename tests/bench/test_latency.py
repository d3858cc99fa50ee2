import json
from pathlib import Path

import numpy as np
import pytest

from bnfold.bench import measure_latency
from bnfold.errors import InputError
from tests.verify.graphs import images, network, random_layers, right, saved


def test_models_are_measured_side_by_side(tmp_path: Path) -> None:
    """Each has median and range, the ratio is to the first, and a model is about as fast as itself."""
    layers = random_layers()
    one = saved(network(layers), tmp_path / "one.onnx")
    two = saved(network(layers, right), tmp_path / "two.onnx")
    report = measure_latency({"one": one, "again": one, "two": two}, images(5), rounds=15, warmup=3)
    assert (list(report.models), report.batch, report.rounds) == (["one", "again", "two"], 5, 15)
    for latency in report.models.values():
        assert 0 < latency.lowest <= latency.median <= latency.highest
    assert report.models["one"].ratio == 1
    assert 0.25 < report.models["again"].ratio < 4
    document = json.loads(json.dumps(report.to_dict()))
    assert document["models"]["two"]["median"] == report.models["two"].median


def test_a_larger_model_takes_longer(tmp_path: Path) -> None:
    """Sixty-four times the samples are not done in the same time: the clock runs around the right call."""
    path = saved(network(random_layers()), tmp_path / "model.onnx")
    small, large = (
        measure_latency({"model": path}, images(samples), rounds=9, warmup=2).models["model"] for samples in (1, 64)
    )
    assert large.median > 2 * small.median


@pytest.mark.parametrize(("models", "rounds"), [({}, 5), ({"a": Path("a.onnx")}, 0)])
def test_nothing_to_measure_is_refused(models: dict[str, Path], rounds: int) -> None:
    """No model or no round is bad input, said before anything is opened."""
    with pytest.raises(InputError, match="latency: expected models and rounds"):
        measure_latency(models, {"images": np.zeros((1, 1))}, rounds=rounds)
