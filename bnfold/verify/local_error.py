"""What is known of the error at each value inside a candidate, and the first node that is to blame."""

from dataclasses import asdict, dataclass
from math import nan
from typing import Any

from bnfold.verify.gauge import Gauge
from bnfold.verify.tolerance import Size

LARGEST = 2**28
"""Numbers that the values of one graph on one sample may be (2 GiB); up to four graphs are held at a time."""


_UNKNOWN = Size(nan, nan)


@dataclass(frozen=True)
class LocalError:
    """One node of the candidate that computes a matched value; sizes in units of that value.

    Attributes:
        nodes: names of the nodes since the last matched values, this one last: all of them are judged together.
        op_type: operator of the last of them.
        value: name of the result.
        introduced: error on exact inputs; None where those are not at hand and the node's own depend on a fault.
        limit: one rounding of the result and, where ``introduced`` is more, what roundings of the nodes' weights may
            do besides; where inputs are not exact those of all weights before them.
        total: error where it stands.
        size: of the exact value.
        gauge: how the value is carried, where it can be measured.
    """

    nodes: tuple[str, ...]
    op_type: str
    value: str
    introduced: Size | None
    limit: Size
    total: Size
    size: Size
    gauge: Gauge | None

    @property
    def excess(self) -> float:
        """Return what the nodes introduce over their limit; 0 where that is not known."""
        return 0.0 if self.introduced is None else self.introduced / self.limit

    @property
    def passed(self) -> bool:
        """Say whether what the nodes introduce is within their limit."""
        return self.introduced is None or self.introduced.within(self.limit)

    def to_dict(self) -> dict[str, Any]:
        """Return the node for JSON."""
        *together, name = self.nodes
        sizes = {key: asdict(getattr(self, key) or _UNKNOWN) for key in ("introduced", "limit", "total", "size")}
        gauge = None if self.gauge is None else {key: list(pair) for key, pair in asdict(self.gauge).items()}
        words = {"name": name, "op_type": self.op_type, "value": self.value, "together": together}
        return {**words, **sizes, "passed": self.passed, "gauge": gauge}


@dataclass(frozen=True)
class Localization:
    """Every matched value in order of execution, and the names of those that could not be matched.

    ``reference`` says what the values were matched with, ``sample`` which one was looked at; ``too_large`` that it was
    not, since its values would not fit the memory that this may take. Without ``exact_inputs`` every value is looked at
    where it stands, and a node is to blame whose inputs are right and whose result is not.
    """

    reference: str
    sample: int
    nodes: tuple[LocalError, ...]
    unmatched: tuple[str, ...]
    too_large: bool = False
    exact_inputs: bool = True

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
            which = "its" if self.exact_inputs else "the"
            return f"No node introduces more error than roundings of {which} weights ({basis}{missing})."
        count = sum(not node.passed for node in self.nodes)
        more = f" It is the first of {count}." if count > 1 else ""
        excess = f"{fault.excess:.2g} times its limit"
        where = f"{fault.nodes[-1]} ({fault.op_type})"
        if len(fault.nodes) > 1:
            where += f", or one of {', '.join(fault.nodes[:-1])} before it,"
        how = "on exact inputs" if self.exact_inputs else "on inputs that are right"
        return f"The first node at fault is {where}: it introduces {excess} {how} ({basis}{missing}).{more}"

    def to_dict(self) -> dict[str, Any]:
        """Return the localization for JSON."""
        fault = self.first_fault
        return {
            "reference": self.reference,
            "sample": self.sample,
            "exact_inputs": self.exact_inputs,
            "matched": len(self.nodes),
            "unmatched": list(self.unmatched),
            "first_fault": None if fault is None else fault.to_dict(),
            "words": self.words,
            "nodes": [node.to_dict() for node in self.nodes],
        }
