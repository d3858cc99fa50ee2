from itertools import pairwise, permutations

import pytest

from bnfold.bench.rounds import interleaved


def test_calls_take_turns_in_an_order_drawn_anew() -> None:
    """Every round calls each once; over the rounds each comes behind every other; the warm-up is not counted."""
    called: list[str] = []
    calls = {name: lambda name=name: called.append(name) for name in "abc"}
    measured = interleaved(calls, rounds=60, warmup=4)
    rounds = [called[start : start + 3] for start in range(0, len(called), 3)]
    assert len(rounds) == 64
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {pair for each in rounds for pair in pairwise(each)} == set(permutations("abc", 2))
    assert {name: len(seconds) for name, seconds in measured.items()} == {"a": 60, "b": 60, "c": 60}


def test_the_clock_runs_around_its_own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that the calls themselves advance, each gets what it took and nothing of the others."""
    now = [0.0]
    monkeypatch.setattr("bnfold.bench.rounds.time.perf_counter", lambda: now[0])

    def takes(seconds: float) -> None:
        now[0] += seconds

    measured = interleaved({"one": lambda: takes(1.0), "four": lambda: takes(4.0)}, rounds=2, warmup=0)
    assert measured == {"one": [1.0, 1.0], "four": [4.0, 4.0]}
