"""Which node is at fault: every value of the candidate against the exact value that it should carry.

Every node of the candidate is evaluated twice in double, with the weights as stored:

1. On exact inputs, those that the exact fold of the original has. What its result differs by from the exact one the
   node alone is to blame for: the introduced error. It is held to one rounding of the result and, where it is more
   than that, to the roundings of the node's own weights too.
2. Where it stands, on what comes in from above: the total error, introduced and propagated.

A value is exact where the exact fold computes one of the same name: it is then s·(v + σ), the original's value through
its gauge. A value that has no namesake there (branches that were merged, other tools' output) cannot be matched. It is
computed from the exact values before it, and counts as part of the next node that can.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_ir as ir

from bnfold.verify.exact import ExactFold
from bnfold.verify.gauge import measured_gauge
from bnfold.verify.local_error import LARGEST, LocalError, Localization
from bnfold.verify.oracle import Array, Oracle, Value
from bnfold.verify.oracle.evaluator import Step
from bnfold.verify.rounding import UNIT_ROUNDOFF, RoundedAgain, precision
from bnfold.verify.samples import Arrays
from bnfold.verify.tolerance import K, Size

_LIKENESS = 1e-2
"""A value within a hundredth of the exact one carries the same gauge: two gauges differ by more, somewhere."""


@dataclass(frozen=True)
class References:
    """What the values of a candidate are matched with, on ``inputs``: one sample, or one fixed batch of the graph.

    ``original`` are the values of the original by name, ``choices`` those of each exact fold, and the original's again.
    """

    inputs: Arrays
    original: Arrays
    choices: tuple[tuple[str, Arrays], ...]

    @classmethod
    def of(cls, original: ir.Model, folds: Sequence[ExactFold], inputs: Arrays) -> "References":
        """Evaluate the original and its exact folds.

        Raises:
            InputError: the oracle cannot evaluate a node.
            TooLarge: there are more values than may be held.
        """
        before = all_values(Oracle.of(original), inputs)
        choices = [(fold.words, all_values(Oracle.of(fold.model), inputs)) for fold in folds]
        return cls(inputs, before, (*choices, ("the original", before)))

    def like(self, values: Arrays) -> tuple[str, Arrays]:
        """Return the choice that most of a candidate's ``values`` agree with, the first of several."""
        best, most = self.choices[0], -1
        numbers = sum(np.issubdtype(value.dtype, np.floating) for value in values.values())
        for choice in self.choices:
            alike = sum(_alike(values, choice[1]))
            if alike > most:
                best, most = choice, alike
            if most == numbers:  # no other can agree with more
                break
        return best


class TooLarge(Exception):
    """The values of one sample are more than `LARGEST` numbers."""


def localize(candidate: ir.Model, references: References, sample: int) -> Localization:
    """Look for the first node at fault; ``sample`` says which one the references hold.

    The values are matched with that fold, or with the original itself, that most of them agree with.

    Raises:
        InputError: the oracle cannot evaluate a node.
    """
    oracle = Oracle.of(candidate)
    values = all_values(oracle, references.inputs)
    reference, exact = references.like(values)
    moved = RoundedAgain(candidate, np.random.default_rng(0))
    walk = _Walk(exact, values, references.original, moved, UNIT_ROUNDOFF[precision(candidate)])
    oracle.run(references.inputs, hook=walk.judge)
    unmatched = tuple(name for name in values if name not in exact)
    return Localization(reference, sample, tuple(walk.found), unmatched)


class _Walk:
    """The evaluation of the candidate on exact inputs."""

    def __init__(
        self, exact: Arrays, values: Arrays, before: Arrays, moved: Mapping[str, Array], roundoff: float
    ) -> None:
        self.exact, self.values, self.before, self.moved, self.roundoff = exact, values, before, moved, roundoff
        self.found: list[LocalError] = []
        self._moved_values: dict[str, Value] = {}
        self._pending: dict[str, tuple[str, ...]] = {}

    def judge(self, step: Step, results: dict[str, Value]) -> Mapping[str, Value]:
        """Compare the results of a node; hand on exact values where there are, else what it computed.

        Where it takes that, a second evaluation runs beside it on weights that are rounded anew: it starts from exact
        values as the first does.
        """
        chain = tuple(dict.fromkeys(node for name in step.inputs for node in self._pending.get(name, ())))
        chain = (*chain, step.name)

        @cache
        def again() -> Mapping[str, Value]:
            other = {name: self.moved.get(name, self._moved_values.get(name)) for name in step.inputs}
            changed = {name: value for name, value in other.items() if value is not None}
            return step.again(changed) if changed else results

        handed = dict(results)
        for name, value in results.items():
            if name not in self.exact or self.exact[name].shape != value.shape:
                self._pending[name] = chain
                if again() is not results:
                    self._moved_values[name] = again()[name]
                continue
            handed[name] = self.exact[name]
            if np.issubdtype(value.dtype, np.floating):
                self.found.append(self._error(step, chain, name, value, again))
        return handed

    def _error(
        self, step: Step, chain: tuple[str, ...], name: str, value: Array, again: Callable[[], Mapping[str, Value]]
    ) -> LocalError:
        exact = self.exact[name]
        size, introduced = Size.of(exact), Size.of_difference(value, exact)
        limit = size * self.roundoff  # no value can be stored more closely
        if not introduced.within(limit):
            # One draw of roundings stands for another, as in `tolerance`.
            limit += Size.of_difference(again()[name], value) * K
        return LocalError(
            nodes=chain,
            op_type=step.op_type,
            value=name,
            introduced=introduced,
            limit=limit,
            total=Size.of_difference(self.values[name], exact),
            size=size,
            gauge=measured_gauge(self.before[name], exact) if name in self.before else None,
        )


def all_values(oracle: Oracle, inputs: Arrays) -> dict[str, Value]:
    """Return everything that the nodes of a graph compute, by name.

    Raises:
        InputError: the oracle cannot evaluate a node.
        TooLarge: these are more than `LARGEST` numbers.
    """
    known = oracle.remembered(inputs)
    if known is not None:
        return known
    kept: dict[str, Value] = {}
    room = LARGEST

    def keep(_: Step, results: dict[str, Value]) -> Mapping[str, Value]:
        nonlocal room
        kept.update(results)
        room -= sum(value.size for value in results.values())
        if room < 0:
            raise TooLarge
        return results

    oracle.run(inputs, hook=keep)
    return kept


def _alike(values: Arrays, exact: Arrays) -> Iterator[bool]:
    for name, value in values.items():
        reference = exact.get(name)
        if reference is not None and reference.shape == value.shape and np.issubdtype(value.dtype, np.floating):
            yield bool(Size.of_difference(value, reference).rms <= _LIKENESS * Size.of(reference).rms)
