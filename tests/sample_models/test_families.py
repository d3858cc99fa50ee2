"""Every family of graph through the whole chain: trained, calibrated, folded, merged, exported, verified."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from torch import nn

from bnfold.data import Batch, Split, load_data
from bnfold.population import Estimator, calibrate
from bnfold.training import Run, TrainResult, resolve_model, train, write_run
from bnfold.training.forward import call, device_of, to_tensors
from bnfold.verify import Verdict
from bnfold_cli.choices import Objective
from bnfold_cli.samples import builtin_models
from bnfold_cli.work.export import export
from bnfold_cli.work.verify import verify


class Family(NamedTuple):
    """What a sample model is known to reach.

    Attributes:
        name: built-in.
        metric: of its recipe.
        least: value that a training by its recipe reaches; for `perplexity` the largest.
        kept: normalizations that ``--objective latency`` keeps.
        args: of a smaller network, for the quick test.
    """

    name: str
    metric: str
    least: float
    kept: int = 0
    args: dict[str, Any] = {}  # noqa: RUF012  (never changed)


FAMILIES = [
    Family("residual", "accuracy", 0.97, args={"width": 4}),
    # A layer's BN reads what all later layers read too: its Relu has to become a maximum with a constant.
    Family("densenet", "accuracy", 0.97, kept=4, args={"growth": 4, "layers": [2, 2]}),
    Family("mobilenet-v2", "accuracy", 0.97, args={"width": 4, "blocks": 1}),
    Family("repvgg", "accuracy", 0.97, args={"width": 4, "blocks": [2]}),
    Family("sensor", "accuracy", 0.95, args={"width": 4}),
    Family("point-cloud", "accuracy", 0.80, args={"shared": [8, 8]}),
    # A shift does not pass A, and the latency objective may fold the bias behind A into BN rather than BN into it.
    Family("graph-convolution", "node_accuracy", 0.85, kept=2, args={"hidden": [4, 4]}),
    Family("language-model", "perplexity", 4.0, args={"width": 8, "blocks": 2}),
    Family("segmentation", "mean-iou", 0.5, args={"width": 4}),
    Family("detector", "average_precision", 0.7, args={"width": 4}),
    Family("instance-masks", "mask_average_precision", 0.65, args={"width": 4, "prototypes": 4}),
]

SYSTEMS = [
    Family("bn-x30", "accuracy", 0, args={"width": 0.03125}),
    Family("bn-x5-sigmoid", "accuracy", 0, args={"width": 0.03125}),
    Family("mnist-sigmoid-bn", "accuracy", 0, args={"hidden_units": 8}),
    # The member that normalizes each place of a feature map keeps the normalizations of its last module.
    Family("ensemble", "accuracy", 0, kept=7, args={"width": 0.03125}),
]
"""Of the paper; docs/paper.md tells what they reach, and how long that takes."""


def _train(family: Family, folder: Path, args: dict[str, Any], settings: dict[str, Any]) -> TrainResult:
    source = resolve_model(family.name, args, builtin_models())
    recipe = source.recipe
    assert recipe.data is not None
    return train(source, recipe.data, recipe.hyperparameters({**settings, "device": "cpu"}), folder)


def _calibrate(folder: Path, output: Path, samples: int) -> None:
    run = Run.open(folder)
    network = run.load_model(builtin_models())
    data = load_data(run.data_spec, Split.TRAIN)
    batches = list(data.take(min(samples, len(data))).batches(32))
    calibrate(
        network,
        batches,
        estimator=Estimator.POOLED,
        forward_fn=_forward,
    )
    write_run(output, run.record, network.state_dict())


def _forward(model: nn.Module, batch: object) -> object:
    assert isinstance(batch, Batch)
    return call(model, to_tensors(batch.inputs, device_of(model)))


def _export(source: Path, output: Path, objective: Objective) -> tuple[int, int]:
    """Return how many normalizations the graph had, and how many it still has."""
    exported = export(source, output, objective=objective, samples=4)
    report = verify(output, mutants=2)
    assert report.verdict is Verdict.EQUIVALENT
    assert report.localization is not None
    assert report.localization.nodes
    assert report.localization.first_fault is None, report.localization.words
    return exported.original.batch_norms, exported.final.batch_norms


@pytest.mark.parametrize(
    "family",
    [*FAMILIES, *(pytest.param(system, marks=pytest.mark.slow) for system in SYSTEMS)],
    ids=lambda family: family.name,
)
def test_a_family_goes_through_the_chain(tmp_path: Path, family: Family) -> None:
    """A network of the family that two updates have moved loses its normalizations, and nothing else."""
    settings = {"steps": 2, "batch_size": 8, "learning_rate": 0.01, "evaluate_every": 2}
    _train(family, tmp_path / "run", family.args, settings)
    _calibrate(tmp_path / "run", tmp_path / "calibrated", samples=64)
    before, after = _export(tmp_path / "calibrated", tmp_path / "bundle", "latency")
    assert before > 0
    assert after == family.kept


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_recipe_reaches_its_metric(tmp_path: Path, family: Family) -> None:
    """A network trained as its file recommends knows its subject, and still does so calibrated, folded and exported."""
    found = _train(family, tmp_path / "run", {}, {}).final.metrics[family.metric]
    assert found <= family.least if family.metric == "perplexity" else found >= family.least
    _calibrate(tmp_path / "run", tmp_path / "calibrated", samples=1000)
    before, after = _export(tmp_path / "calibrated", tmp_path / "bundle", "no-bn")
    assert before > 0
    assert after == 0
