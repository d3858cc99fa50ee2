import itertools

import pytest

from bnfold.verify.verdict import Finding, Verdict, decide


def test_exit_codes_are_those_of_the_design() -> None:
    """0 equivalent, 1 not, 3 not attested, 4 inconclusive; 2 is bad input and no verdict."""
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "equivalent": 0,
        "not-equivalent": 1,
        "not-attested": 3,
        "inconclusive": 4,
    }


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_gravest_finding_decides(count: int) -> None:
    """A difference outweighs a missing attestation, which outweighs doubt, in any order; only nothing is a pass."""
    order = [Verdict.NOT_EQUIVALENT, Verdict.NOT_ATTESTED, Verdict.INCONCLUSIVE]
    for verdicts in itertools.permutations(order, count):
        expected = min(verdicts, key=order.index)
        assert decide([Finding(verdict, "words") for verdict in verdicts]) is expected
    assert decide([]) is Verdict.EQUIVALENT
