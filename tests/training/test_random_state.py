import json
import random

import numpy as np
import pytest
import torch

from bnfold.training.random_state import RandomState, capture, isolated, restore


def draw() -> tuple[object, ...]:
    """Draw from every source, an odd number of normal values so that one is left over in each cache."""
    return (
        torch.rand(3).tolist(),
        random.random(),  # noqa: S311  (no secret)
        random.gauss(0, 1),
        np.random.standard_normal(3).tolist(),  # noqa: NPY002  (the global generator is the subject)
    )


def test_a_restored_state_gives_the_same_draws() -> None:
    """After restore every source repeats itself, also where a normal value waits in its cache, and through JSON."""
    draw()
    state = capture()
    first = draw()
    assert draw() != first
    through_json = RandomState(state.torch, state.cuda, *json.loads(json.dumps([state.python, state.numpy])))
    for again in (state, through_json):
        restore(again)
        assert draw() == first


def test_a_seed_decides_all_draws() -> None:
    """Equal seeds give equal draws and others give others, seeds beyond NumPy's 32 bits included."""
    drawn: dict[int, tuple[object, ...]] = {}
    for seed in (1, 2, 2**40, 1):
        with isolated(seed):
            value = draw()
        assert drawn.setdefault(seed, value) == value
    assert len({repr(value) for value in drawn.values()}) == 3


def test_the_callers_draws_go_on_as_if_nothing_had_happened() -> None:
    """The block leaves no trace."""
    state = capture()
    expected = draw()
    restore(state)
    with isolated(7):
        draw()
    assert draw() == expected


def test_an_exception_restores_the_callers_states_too() -> None:
    """A block that raises leaves no trace either."""
    state = capture()
    expected = draw()
    restore(state)
    with pytest.raises(ZeroDivisionError, match="division"), isolated(7):
        random.seed(1 // 0)
    assert draw() == expected
