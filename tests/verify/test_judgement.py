from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from bnfold.verify.judgement import Precisions, Values, judge
from bnfold.verify.report import OutputReport, RungName
from bnfold.verify.tolerance import Size
from bnfold.verify.verdict import Finding, Verdict

SINGLE = Precisions(ir.DataType.FLOAT, ir.DataType.FLOAT)

SAMPLES = 20


def noisy(oracle: np.ndarray, relative: float, seed: int) -> np.ndarray:
    """Return ``oracle`` with relative errors of that size."""
    return oracle * (1 + relative * np.random.default_rng(seed).standard_normal(oracle.shape))


@pytest.fixture
def right() -> Values:
    """Return values of a right fold: errors of 1e-7 on the runtime, 3e-8 from the weights, 1e-16 in double."""
    oracle = np.random.default_rng(0).standard_normal((SAMPLES, 7))
    return Values(
        oracle=oracle,
        baseline=noisy(oracle, 1e-7, 1),
        run=noisy(oracle, 1e-7, 2),
        stored=noisy(oracle, 3e-8, 3),
        rounding=Size.of(noisy(oracle, 3e-8, 4) - oracle),
        algebra=noisy(oracle, 1e-16, 5),
    )


def judged(values: Values, precisions: Precisions = SINGLE) -> tuple[OutputReport, tuple[Finding, ...]]:
    """Judge ``values`` as those of the output y, which has figures."""
    report, findings = judge("y", values, SAMPLES, precisions)
    assert report is not None
    return report, findings


def test_a_right_fold_passes_every_rung(right: Values) -> None:
    """Errors of the sizes that precision makes lead to no finding, on any of the three rungs."""
    report, findings = judged(right)
    assert findings == ()
    assert [rung.name for rung in report.ladder] == [RungName.ALGEBRA, RungName.STORAGE, RungName.RUNTIME]
    assert all(rung.passed for rung in report.ladder)
    algebra = report.ladder[0].tolerance.limit.rms
    assert 1e-15 < algebra < 1e-14  # in double: some units of 1e-16, k = 8 times


def test_a_fold_that_is_wrong_in_exact_arithmetic(right: Values) -> None:
    """A millionth off in double is the algebra's fault, and only that rung is named, though all fail."""
    wrong = noisy(right.oracle, 1e-5, 6)
    _, (finding,) = judged(replace(right, algebra=wrong, stored=wrong, run=wrong))
    assert finding.verdict is Verdict.NOT_EQUIVALENT
    assert "output y: the fold itself is wrong, in exact arithmetic" in finding.words


def test_weights_that_are_wrong_as_they_are_stored(right: Values) -> None:
    """The exact fold is right and the file is not: the fault came in when it was written."""
    wrong = noisy(right.oracle, 1e-5, 6)
    report, (finding,) = judged(replace(right, stored=wrong, run=wrong))
    assert "the candidate's graph or weights are wrong" in finding.words
    assert [rung.passed for rung in report.ladder] == [True, False, False]


def test_rounding_of_tensor_cores_is_the_runtimes(right: Values) -> None:
    """TF32 keeps ten bits of each operand: 5e-4 on the runtime alone, with a graph that is right."""
    report, (finding,) = judged(replace(right, run=noisy(right.oracle, 5e-4, 6)))
    assert finding.verdict is Verdict.NOT_EQUIVALENT
    assert "the graph is right, the runtime's result is not" in finding.words
    assert [rung.passed for rung in report.ladder] == [True, True, False]


def test_one_wrong_element_among_all(right: Values) -> None:
    """One element that is off by a ten-thousandth hides in the root mean square of many, not in the largest."""
    oracle = np.random.default_rng(0).standard_normal((SAMPLES, 50_000))
    run = noisy(oracle, 1e-7, 2)
    run[3, 7] += 1e-4
    many = replace(right, oracle=oracle, baseline=noisy(oracle, 1e-7, 1), run=run, stored=oracle, algebra=None)
    report, (finding,) = judged(many)
    assert finding.verdict is Verdict.NOT_EQUIVALENT
    assert report.ladder[-1].error.rms < report.ladder[-1].tolerance.limit.rms


def test_half_precision_is_judged_as_half_precision(right: Values) -> None:
    """A candidate stored in float16 may err by 2¹³ times as much as in float32, and no more."""
    half = Precisions(ir.DataType.FLOAT, ir.DataType.FLOAT16)
    coarse = replace(right, rounding=right.rounding * 2**13, stored=noisy(right.oracle, 2e-4, 6), algebra=None)
    assert judged(replace(coarse, run=noisy(right.oracle, 5e-4, 7)), half)[1] == ()
    (finding,) = judged(replace(coarse, run=noisy(right.oracle, 5e-2, 7)), half)[1]
    assert finding.verdict is Verdict.NOT_EQUIVALENT


def test_other_shapes_differ(right: Values) -> None:
    """An output of another shape is a difference that no figure describes, and never broadcast away."""
    report, (finding,) = judge("y", replace(right, run=right.run[:, :1]), SAMPLES, SINGLE)
    assert (report, finding.verdict) == (None, Verdict.NOT_EQUIVALENT)
    assert "the candidate's run has shape (20, 1), the original (20, 7)" in finding.words


def test_an_original_of_two_shapes_decides_nothing(right: Values) -> None:
    """Where oracle and runtime disagree about the original's shape, there is nothing to hold the candidate to."""
    report, (finding,) = judge("y", replace(right, baseline=right.baseline[:, :1]), SAMPLES, SINGLE)
    assert (report, finding.verdict) == (None, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("field", ["run", "stored", "algebra"])
def test_nan_passes_no_rung(right: Values, field: str) -> None:
    """One NaN in any evaluation of the candidate is a difference; comparisons with NaN do not pass by being false."""
    broken = getattr(right, field).copy()
    broken[3, 2] = np.nan
    _, findings = judged(replace(right, **{field: broken}))
    assert {finding.verdict for finding in findings} == {Verdict.NOT_EQUIVALENT}


def test_an_original_full_of_noise_decides_nothing(right: Values) -> None:
    """A baseline that is a tenth off would excuse a candidate that is as well."""
    _, findings = judged(replace(right, baseline=noisy(right.oracle, 0.1, 6), run=noisy(right.oracle, 0.1, 7)))
    assert {finding.verdict for finding in findings} == {Verdict.INCONCLUSIVE}
