"""Which node is at fault: every value of the candidate against the exact value that it should carry.

Every node of the candidate is evaluated twice in double, with the weights as stored:

1. On exact inputs, those that the exact fold of the original has. What its result differs by from the exact one the
   node alone is to blame for: the introduced error. It is held to the roundings of the node's own weights.
2. Where it stands, on what comes in from above: the total error, introduced and propagated.

A value is exact where the exact fold computes one of the same name: it is then s·(v + σ), the original's value through
its gauge. A value that has no namesake there (branches that were merged, other tools' output) cannot be matched. It is
computed from the exact values before it, and counts as part of the next node that can.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from bnfold.verify.exact import ExactFold
from bnfold.verify.gauge import Gauge, measured_gauge
from bnfold.verify.oracle import Array, Oracle, Value
from bnfold.verify.oracle.evaluator import Step
from bnfold.verify.rounding import UNIT_ROUNDOFF, precision, rounded_again
from bnfold.verify.samples import Arrays
from bnfold.verify.tolerance import K, Size

LARGEST = 2**28
"""Numbers that the values of one graph on one sample may be (2 GiB); up to four graphs are held at a time."""

_LIKENESS = 1e-2
"""A value within a hundredth of the exact one carries the same gauge: two gauges differ by more, somewhere."""


@dataclass(frozen=True)
class LocalError:
    """One node of the candidate that computes a matched value; sizes in units of that value.

    Attributes:
        nodes: names of the nodes since the last matched values, this one last: all of them are judged together.
        op_type: operator of the last of them.
        value: name of the result.
        introduced: error on exact inputs.
        limit: what roundings of the nodes' weights may do.
        total: error where it stands.
        size: of the exact value.
        gauge: how the value is carried, where it can be measured.
    """

    nodes: tuple[str, ...]
    op_type: str
    value: str
    introduced: Size
    limit: Size
    total: Size
    size: Size
    gauge: Gauge | None

    @property
    def passed(self) -> bool:
        """Say whether what the nodes introduce is within their limit."""
        return self.introduced.within(self.limit)

    def to_dict(self) -> dict[str, Any]:
        """Return the node for JSON."""
        *together, name = self.nodes
        sizes = {key: asdict(getattr(self, key)) for key in ("introduced", "limit", "total", "size")}
        gauge = None if self.gauge is None else {key: list(pair) for key, pair in asdict(self.gauge).items()}
        words = {"name": name, "op_type": self.op_type, "value": self.value, "together": together}
        return {**words, **sizes, "passed": self.passed, "gauge": gauge}


@dataclass(frozen=True)
class Localization:
    """Every matched value in order of execution, and the names of those that could not be matched.

    ``reference`` says what the values were matched with, ``sample`` which one was looked at; ``too_large`` that it was
    not, since its values would not fit the memory that this may take.
    """

    reference: str
    sample: int
    nodes: tuple[LocalError, ...]
    unmatched: tuple[str, ...]
    too_large: bool = False

    @property
    def first_fault(self) -> LocalError | None:
        """Return the first node that introduces more than its limit."""
        return next((node for node in self.nodes if not node.passed), None)

    @property
    def words(self) -> str:
        """Return the outcome in a sentence."""
        basis = f"{len(self.nodes)} values compared with {self.reference}"
        missing = f", {len(self.unmatched)} could not be matched" if self.unmatched else ""
        fault = self.first_fault
        if self.too_large:
            return f"No node was looked for: the values of one sample are more than {LARGEST} numbers."
        if not self.nodes:
            return f"No value of the candidate could be matched with {self.reference}: no node can be named."
        if fault is None:
            return f"No node introduces more error than roundings of its weights ({basis}{missing})."
        count = sum(not node.passed for node in self.nodes)
        more = f" It is the first of {count}." if count > 1 else ""
        excess = f"{fault.introduced / fault.limit:.2g} times its limit"
        where = f"{fault.nodes[-1]} ({fault.op_type})"
        if len(fault.nodes) > 1:
            where += f", or one of {', '.join(fault.nodes[:-1])} before it,"
        return f"The first node at fault is {where}: it introduces {excess} on exact inputs ({basis}{missing}).{more}"

    def to_dict(self) -> dict[str, Any]:
        """Return the localization for JSON."""
        fault = self.first_fault
        return {
            "reference": self.reference,
            "sample": self.sample,
            "matched": len(self.nodes),
            "unmatched": list(self.unmatched),
            "first_fault": None if fault is None else fault.to_dict(),
            "words": self.words,
            "nodes": [node.to_dict() for node in self.nodes],
        }


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
        before = _all_values(Oracle(original), inputs)
        choices = [(fold.words, _all_values(Oracle(fold.model), inputs)) for fold in folds]
        return cls(inputs, before, (*choices, ("the original", before)))


class TooLarge(Exception):
    """The values of one sample are more than `LARGEST` numbers."""


def localize(candidate: ir.Model, references: References, sample: int) -> Localization:
    """Look for the first node at fault; ``sample`` says which one the references hold.

    The values are matched with that fold, or with the original itself, that most of them agree with.

    Raises:
        InputError: the oracle cannot evaluate a node.
    """
    oracle = Oracle(candidate)
    values = _all_values(oracle, references.inputs)
    reference, exact = max(references.choices, key=lambda choice: sum(_alike(values, choice[1])))
    moved = rounded_again(candidate, np.random.default_rng(0))
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

        Beside it runs a second evaluation on weights that are rounded anew: it starts from exact values as the first
        does, and is what the limit comes from.
        """
        other = {name: self.moved.get(name, self._moved_values.get(name)) for name in step.inputs}
        changed = {name: value for name, value in other.items() if value is not None}
        again = step.again(changed) if changed else results
        chain = tuple(dict.fromkeys(node for name in step.inputs for node in self._pending.get(name, ())))
        chain = (*chain, step.name)
        handed = dict(results)
        for name, value in results.items():
            if name not in self.exact or self.exact[name].shape != value.shape:
                self._pending[name] = chain
                if changed:
                    self._moved_values[name] = again[name]
                continue
            handed[name] = self.exact[name]
            if np.issubdtype(value.dtype, np.floating):
                self.found.append(self._error(step, chain, name, value, again[name]))
        return handed

    def _error(self, step: Step, chain: tuple[str, ...], name: str, value: Array, again: Array) -> LocalError:
        exact = self.exact[name]
        size = Size.of(exact)
        return LocalError(
            nodes=chain,
            op_type=step.op_type,
            value=name,
            introduced=Size.of_difference(value, exact),
            # One draw of roundings stands for another, as in `tolerance`; and any value can only be stored to u·|y|.
            limit=Size.of_difference(again, value) * K + size * self.roundoff,
            total=Size.of_difference(self.values[name], exact),
            size=size,
            gauge=measured_gauge(self.before[name], exact) if name in self.before else None,
        )


def _all_values(oracle: Oracle, inputs: Arrays) -> dict[str, Value]:
    """Return everything that the nodes of a graph compute, by name."""
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
