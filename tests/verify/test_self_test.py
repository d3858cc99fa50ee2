"""What the self-test may say about an output that varies little: it excuses it rarely, and never in part."""

from pathlib import Path

import pytest
from onnx import helper, numpy_helper

from bnfold.verify import Verdict, VerificationReport, verify
from bnfold.verify.mutation import Mutation, Trial
from bnfold.verify.self_test import ENOUGH, doubt, with_self_test
from bnfold.verify.verdict import Finding
from tests.verify.graphs import images, network, random_layers, right, saved, single

PEDESTAL = 1e4
"""Its storage in float32 makes the limit 1/7 of what the logits of `images` vary by."""

LITTLE = Finding(Verdict.INCONCLUSIVE, "output logits varies by too little", "contrast", "logits")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> VerificationReport:
    """The report of a right fold, for its one output."""
    folder: Path = tmp_path_factory.mktemp("self_test")
    layers = random_layers()
    return verify(
        saved(network(layers), folder / "a.onnx"), saved(network(layers, right), folder / "b.onnx"), images(8)
    )


def tried(caught: int, missed: int) -> Mutation:
    """Return a self-test of so many wrong candidates."""
    killed, survived = (Trial("wrong epsilon", "conv", error, error > 1) for error in (2.0, 0.5))
    return Mutation((*[killed] * caught, *[survived] * missed))


@pytest.mark.parametrize(
    ("outputs", "count", "caught", "words"),
    [
        (1, 8, 8, None),
        (1, 16, 16, None),
        (1, 16, 15, "the self-test missed 1 of 16 wrong candidates"),
        (1, 8, 4, "the self-test missed 4 of 8 wrong candidates"),
        (1, 7, 7, "the self-test tried 7 wrong candidates, at least 8 must be tried and caught"),
        (1, 0, 0, "the self-test tried no wrong candidates, at least 8 must be tried and caught"),
        (2, 8, 8, "with several outputs the self-test does not tell in which of them a fault shows"),
    ],
)
def test_only_a_full_self_test_leaves_no_doubt(outputs: int, count: int, caught: int, words: str | None) -> None:
    """All caught, of enough, in one output; each other case says which of these it is not."""
    assert doubt(outputs, count, caught) == words


def test_all_of_enough_excuse_little_variation(report: VerificationReport) -> None:
    """The finding goes; with one missed, one too few or none tried it stays, with the reason and a way out."""
    assert not list(with_self_test([LITTLE], tried(ENOUGH, 0), report.outputs))
    for mutation in (tried(ENOUGH - 1, 1), tried(ENOUGH - 1, 0), None):
        (finding,) = with_self_test([LITTLE], mutation, report.outputs)
        assert (finding.verdict, finding.about, finding.output) == (Verdict.INCONCLUSIVE, "contrast", "logits")
        assert finding.words.startswith("output logits varies by too little, and the self-test ")
        assert "(--data; for a bundle, where it is exported) or store the candidate in a tighter" in finding.words


def test_what_is_not_about_variation_is_left_alone(report: VerificationReport) -> None:
    """No self-test excuses another finding."""
    other = Finding(Verdict.NOT_EQUIVALENT, "it differs", "rung", "logits")
    assert list(with_self_test([other], tried(ENOUGH, 0), report.outputs)) == [other]


def test_little_variation_that_tells_is_equivalent(tmp_path: Path) -> None:
    """Logits on a pedestal: their variation is a few limits, yet all of eight mistakes show in it.

    With fewer than eight tried the same comparison is inconclusive.
    """
    layers = random_layers()
    files: list[Path] = []
    for fold in (None, right):
        proto = network(layers, fold)
        proto.graph.node[-1].output[0] = "low"
        proto.graph.node.append(helper.make_node("Add", ["low", "pedestal"], ["logits"]))
        proto.graph.initializer.append(numpy_helper.from_array(single(PEDESTAL), "pedestal"))
        files.append(saved(proto, tmp_path / f"{len(files)}.onnx"))
    full = verify(files[0], files[1], images(8))
    (output,) = full.outputs
    assert output.variation is not None
    assert output.variation < 10 * output.runtime.tolerance.limit.rms  # otherwise this shows nothing
    assert (full.verdict, full.findings) == (Verdict.EQUIVALENT, ())
    for few in (0, 4, 7):
        assert verify(files[0], files[1], images(8), mutants=few).verdict is Verdict.INCONCLUSIVE
