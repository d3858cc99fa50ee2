"""Tests of ``bnfold.population.portions``: every sample once, in order, some so many at a time."""

import pytest
import torch
from torch import Tensor, fx

from bnfold.population.portions import portions, side_by_side
from bnfold.population.program import Environment

GRAPH = fx.Graph()
VALUES, MASK, MODE = (GRAPH.placeholder(name) for name in ("values", "mask", "mode"))


def batches(*sizes: int) -> list[Environment]:
    """Return batches of two tensors and a constant, whose samples are numbered."""
    numbers = torch.arange(sum(sizes), dtype=torch.float64)
    return [
        {VALUES: part.view(-1, 1).clone(), MASK: part.view(-1, 1, 1) > 3, MODE: "a"} for part in numbers.split(sizes)
    ]


def samples(environments: list[Environment]) -> list[Tensor]:
    """Return the numbers of the samples of every portion."""
    return [environment[VALUES].flatten() for environment in environments]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1,) * 7, [3, 3, 1]),
        ((2, 2, 2, 2, 1), [4, 4, 1]),
        ((3, 3), [3, 3]),
        ((10,), [3, 3, 4]),
        ((2, 9), [3, 3, 3, 2]),
        ((2, 3, 3), [2, 3, 3]),
    ],
)
def test_batches_are_joined_and_cut(sizes: tuple[int, ...], expected: list[int]) -> None:
    """Around three at a time, whatever came; the other values stay beside their samples."""
    made = list(portions(batches(*sizes), 3))
    assert sorted(map(len, samples(made))) == sorted(expected)
    assert torch.equal(torch.cat(samples(made)), torch.arange(float(sum(sizes)), dtype=torch.float64))
    for environment in made:
        assert torch.equal(environment[MASK].flatten(), environment[VALUES].flatten() > 3)
        assert environment[MODE] == "a"
        # A part does not hold the whole in memory.
        assert environment[VALUES].untyped_storage().nbytes() == environment[VALUES].nbytes


def changed(batch: Environment, change: str) -> Environment:
    """Return a batch of two samples that differs from others in one thing."""
    match change:
        case "extent":
            return {**batch, VALUES: batch[VALUES].expand(2, 5)}
        case "type":
            return {**batch, VALUES: batch[VALUES].float()}
        case "constant":
            return {**batch, MODE: "b"}
        case "rows":
            return {**batch, MASK: batch[MASK][:1]}
        case _:
            return {node: value[:1] if isinstance(value, Tensor) else value for node, value in batch.items()}


@pytest.mark.parametrize("change", ["extent", "type", "constant", "rows"])
def test_batches_that_do_not_fit_stay_apart(change: str) -> None:
    """Another length of sequence, another type, another constant, as many rows in one tensor as not in the other."""
    first, second, third = batches(2, 2, 2)
    second = changed(second, change)
    made = list(portions([first, second, third], 16))
    assert len(made) == 3
    assert made[1] is second


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1,) * 8, [3, 3, 2]),
        ((2, 2, 1, 1, 1, 1), [1, 1, 3, 1]),
        ((4, 4), [1, 1]),
        ((), []),
    ],
)
def test_batches_of_one_size_go_side_by_side(sizes: tuple[int, ...], expected: list[int]) -> None:
    """At most three samples at a time, whole batches and in their order; a larger one alone, and as it came."""
    given = batches(*sizes)
    made = list(side_by_side(given, 3))
    assert [count for _, count in made] == expected
    numbers = torch.cat([torch.empty(0, dtype=torch.float64), *samples([environment for environment, _ in made])])
    assert torch.equal(numbers, torch.arange(float(sum(sizes)), dtype=torch.float64))
    assert all(any(environment is one for one in given) for environment, count in made if count == 1)


@pytest.mark.parametrize("change", ["extent", "type", "constant", "rows", "length"])
def test_batches_that_differ_do_not_go_side_by_side(change: str) -> None:
    """As above, and where one is shorter, or has rows that belong to no sample, before or behind another."""
    first, second, third = batches(2, 2, 2)
    second = changed(second, change)
    assert [count for _, count in side_by_side([first, second, third], 16)] == [1, 1, 1]
    assert [count for _, count in side_by_side([second, first, third], 16)] == [1, 2]
