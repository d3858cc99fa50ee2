"""Runs that differ from themselves, and samples that depend on their neighbours."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from bnfold.verify import Verdict, verify
from bnfold.verify.stability import Stability, stability, stability_findings
from bnfold.verify.tolerance import Size
from tests.verify.graphs import images, model, network, random_layers, right, saved

LIMIT = Size(1.0, 1.0)


def test_both_differences_are_those_of_the_runs() -> None:
    """Equal runs differ by nothing; the reversed one is put back in order before it is compared."""
    first = np.arange(6.0).reshape(3, 2)
    steady = stability("y", first, first, first[::-1], 3, LIMIT)
    assert (steady.repeat, steady.order) == (Size(0, 0), Size(0, 0))
    moved = stability("y", first, first + 0.5, first, 3, LIMIT)
    assert (moved.repeat.largest, moved.order) == (0.5, Size.of(first[::-1] - first))
    assert stability("y", np.ones(()), np.ones(()), np.ones(()), 3, LIMIT).order is None


@pytest.mark.parametrize(
    ("difference", "found"), [(1.9, []), (2.1, ["repeat", "order"]), (np.nan, ["repeat", "order"])]
)
def test_two_runs_may_differ_by_both_their_limits(difference: float, found: list[str]) -> None:
    """Each may be off by the limit; more is a finding, and NaN is more."""
    size = Size(difference, difference)
    findings = list(stability_findings([Stability("y", size, size, LIMIT)], mixes=False))
    assert [finding.about for finding in findings] == found
    assert all(finding.verdict is Verdict.NOT_EQUIVALENT for finding in findings)


def test_what_mixes_samples_by_design_is_no_finding() -> None:
    """Where the original depends on neighbours, the candidate has to."""
    size = Size(5.0, 5.0)
    assert list(stability_findings([Stability("y", Size(0, 0), size, LIMIT)], mixes=True)) == []


def test_a_run_is_compared_with_itself(tmp_path: Path) -> None:
    """On the CPU equal runs are equal, and neighbours do nothing but roundings; the report has the figures."""
    layers = random_layers()
    files = saved(network(layers), tmp_path / "a.onnx"), saved(network(layers, right), tmp_path / "b.onnx")
    report = verify(*files, images(9))
    assert report.stability is not None
    (logits,) = report.stability
    assert logits.repeat == Size(0.0, 0.0)
    assert logits.order is not None
    assert logits.order.within(logits.limit)
    (document,) = report.to_dict()["stability"]
    assert document["repeat"] == {"rms": 0.0, "largest": 0.0}


def mixing() -> onnx.ModelProto:
    """Return y = x − x[0] of its batch: every sample depends on the first."""
    first = helper.make_node("Gather", ["x", "zero"], ["first"], axis=0)
    difference = helper.make_node("Sub", ["x", "first"], ["y"])
    return model([first, difference], {"x": ["N", 3]}, {"y": ["N", 3]}, {"zero": np.array([0])})


def test_an_original_that_mixes_samples_is_compared_as_it_is(tmp_path: Path) -> None:
    """The same graph on both sides: the samples depend on their neighbours, as they should."""
    path = saved(mixing(), tmp_path / "a.onnx")
    report = verify(path, path, {"x": np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)})
    assert report.verdict is Verdict.EQUIVALENT
    assert report.stability is not None
    assert report.stability[0].order is not None
    assert report.stability[0].order.rms > 0.1
