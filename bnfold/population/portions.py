"""Batches joined and cut into portions of the size at which a forward pass takes least time."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from bnfold.population.per_sample import bytes_per_sample, can_be_cut
from bnfold.population.program import Environment, Program

_CACHED: Final = 8 << 20
"""Bytes of a portion's largest value on a CPU: few enough that what a step writes is still in the last-level cache when
the next reads it, and so many that what every step costs besides, the call of its kernels, weighs little."""

_LARGE: Final = 64 << 20
"""The same on other devices, and the most that `_LEAST` samples may come to."""

_LEAST: Final = 16
"""Samples below which small feature maps, which read as many weights for one sample as for many, take longer."""


def portion_size(program: Program, environment: Environment) -> int | None:
    """Return how many samples a portion should have; None where batches have to stay as they are.

    Args:
        program: the forward pass.
        environment: what the pass on a batch begins with.
    """
    each = bytes_per_sample(program, environment)
    if each is None:
        return None
    on_cpu = all(value.device.type == "cpu" for value in environment.values() if isinstance(value, Tensor))
    wanted = max(_LEAST, _CACHED // each) if on_cpu else _LARGE // each
    return max(1, min(wanted, _LARGE // each))


def portions(environments: Iterable[Environment], size: int) -> Iterator[Environment]:
    """Yield the samples of batches in their order, some ``size`` at a time, where the batches fit together.

    Batches whose tensors differ in more than the number of samples stay apart.
    """
    waiting: list[Environment] = []
    samples = 0
    for environment in environments:
        more = _samples(environment)
        # A batch that would lead further from the size than it is now is not copied for it.
        if waiting and (samples + more - size > size - samples or not _fit(waiting[0], environment)):
            yield from _cut(waiting, size)
            waiting, samples = [], 0
        waiting.append(environment)
        samples += more
        if samples >= size:
            yield from _cut(waiting, size)
            waiting, samples = [], 0
    if waiting:
        yield from _cut(waiting, size)


def side_by_side(environments: Iterable[Environment], size: int) -> Iterator[tuple[Environment, int]]:
    """Yield batches of one size in one environment, as many as come to ``size`` samples, and how many they are.

    At least one, and only one where batches do not fit together.
    """
    waiting: list[Environment] = []
    for environment in environments:
        fits = bool(waiting) and _fit(waiting[0], environment) and _are_equally_long(waiting[0], environment)
        if waiting and not (fits and _samples(environment) * (len(waiting) + 1) <= size):
            yield _joined(waiting), len(waiting)
            waiting = []
        waiting.append(environment)
    if waiting:
        yield _joined(waiting), len(waiting)


def _joined(environments: Sequence[Environment]) -> Environment:
    first, *others = environments
    if not others:
        return first
    return {
        node: torch.cat([environment[node] for environment in environments]) if isinstance(value, Tensor) else value
        for node, value in first.items()
    }


def _cut(environments: Sequence[Environment], size: int) -> Iterator[Environment]:
    parts = max(1, round(sum(map(_samples, environments)) / size))
    if (len(environments) == 1 and parts == 1) or not can_be_cut(environments[0]):
        yield from environments
        return
    cut: list[Environment] = [{} for _ in range(parts)]
    for node, value in _joined(environments).items():
        if isinstance(value, Tensor):
            for part, rows in zip(cut, value.tensor_split(parts), strict=True):
                # A part that holds the whole in memory would be counted with all of it.
                part[node] = rows if parts == 1 else rows.clone()
        else:
            for part in cut:
                part[node] = value
    yield from cut


def _fit(one: Environment, other: Environment) -> bool:
    return can_be_cut(other) and all(_form(value) == _form(other[node]) for node, value in one.items())


def _are_equally_long(one: Environment, other: Environment) -> bool:
    return all(len(value) == len(other[node]) for node, value in one.items() if isinstance(value, Tensor))


def _form(value: object) -> object:
    """Return what two values have to have in common to be joined: all of a constant, of a tensor all but the rows."""
    return (value.dtype, value.device, value.shape[1:]) if isinstance(value, Tensor) else value


def _samples(environment: Environment) -> int:
    return next((len(value) for value in environment.values() if isinstance(value, Tensor) and value.ndim), 0)
