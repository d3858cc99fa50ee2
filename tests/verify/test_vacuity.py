import numpy as np
import pytest

from bnfold.verify.tolerance import Size
from bnfold.verify.vacuity import (
    contrast_findings,
    input_findings,
    noise_findings,
    value_findings,
    variation_over_samples,
)
from bnfold.verify.verdict import Verdict

FINE = np.array([[1.0, 2.0], [3.0, 5.0]])
BROKEN = {bad: np.array([[1.0, bad], [3.0, 5.0]]) for bad in (np.nan, np.inf, -np.inf)}


@pytest.mark.parametrize("bad", BROKEN.values(), ids=map(str, BROKEN))
def test_the_original_that_is_not_finite_decides_nothing(bad: np.ndarray) -> None:
    """NaN or infinity in the oracle's or the runtime's values of the original: inconclusive, whatever the candidate."""
    for oracle, baseline in ((bad, FINE), (FINE, bad), (bad, bad)):
        for candidate in (FINE, bad):
            (finding,) = value_findings("y", oracle, baseline, candidate)
            assert finding.verdict is Verdict.INCONCLUSIVE
            assert "output y of the original is not finite in 1 of 4 elements" in finding.words


@pytest.mark.parametrize("bad", BROKEN.values(), ids=map(str, BROKEN))
def test_a_candidate_that_alone_is_not_finite_differs(bad: np.ndarray) -> None:
    """NaN or infinity in the candidate only is a difference."""
    (finding,) = value_findings("y", FINE, FINE, bad)
    assert finding.verdict is Verdict.NOT_EQUIVALENT
    assert not list(value_findings("y", FINE, FINE, FINE))


def test_an_empty_output_decides_nothing() -> None:
    """Zero elements are equal to anything."""
    empty = np.zeros((2, 0))
    (finding,) = value_findings("y", empty, empty, empty)
    assert (finding.verdict, finding.words) == (Verdict.INCONCLUSIVE, "output y is empty: nothing was compared")


def test_an_output_must_vary_by_more_than_its_limit() -> None:
    """Constant over the samples, or nearly so in units of the limit: inconclusive; well above it: nothing to say."""
    constant = np.array([[1.0, 2.0], [1.0, 2.0]])
    (finding,) = contrast_findings("y", constant, 2, Size(1e-9, 1e-9))
    assert (finding.verdict, "same for every sample" in finding.words) == (Verdict.INCONCLUSIVE, True)
    (finding,) = contrast_findings("y", FINE, 2, Size(0.5, 0.5))
    assert (finding.verdict, "less than 10 times its limit" in finding.words) == (Verdict.INCONCLUSIVE, True)
    assert not list(contrast_findings("y", FINE, 2, Size(0.05, 0.05)))


def test_variation_is_over_samples_not_over_elements() -> None:
    """A sample's rows stay together: the deviation is from the mean over samples, element by element."""
    assert variation_over_samples(np.array([[1.0, 100.0], [3.0, 100.0]]), 2) == pytest.approx(np.sqrt(0.5))
    grouped = np.array([[1.0], [100.0], [3.0], [100.0]])  # two rows a sample
    assert variation_over_samples(grouped, 2) == pytest.approx(np.sqrt(0.5))


def test_an_original_that_is_mostly_noise_decides_nothing() -> None:
    """Half of float32's digits lost is where the original stops being evidence: √2⁻²⁴ = 2⁻¹² of its size."""
    (finding,) = noise_findings("y", Size(1.01 * 2.0**-12, 1), Size(1.0, 1), 2.0**-24)
    assert (finding.verdict, "mostly rounding noise" in finding.words) == (Verdict.INCONCLUSIVE, True)
    assert not list(noise_findings("y", Size(0.99 * 2.0**-12, 1), Size(1.0, 1), 2.0**-24))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "fewer than two different samples"),
        ({"x": np.ones((1, 3))}, "fewer than two different samples"),
        ({"x": np.ones((4, 3))}, "fewer than two different samples"),
        ({"x": np.zeros((0, 3))}, "the inputs are empty"),
        ({"x": np.array([[1.0], [np.nan]])}, "input x is not finite"),
    ],
)
def test_samples_that_cannot_show_a_difference(inputs: dict[str, np.ndarray], words: str) -> None:
    """None, one, all the same, empty, or not finite: inconclusive before anything is evaluated."""
    findings = list(input_findings(inputs))
    assert {finding.verdict for finding in findings} == {Verdict.INCONCLUSIVE}
    assert any(words in finding.words for finding in findings)


def test_one_input_that_differs_between_samples_is_enough() -> None:
    """A constant second input is no fault of the first."""
    assert not list(input_findings({"x": np.array([[1.0], [2.0]]), "mask": np.ones((2, 3)), "scale": np.array(1.0)}))
