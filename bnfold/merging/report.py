"""Which nodes became which, and which stayed although they compute sums of one value."""

from dataclasses import asdict, dataclass
from enum import StrEnum

SCHEMA = "bnfold.merge/1"


class Rule(StrEnum):
    """What was done."""

    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"
    AFFINE = "affine"
    PADDING = "padding"
    THRESHOLD = "threshold-behind-pool"
    POOLING = "pool-before-pointwise"


class Hindrance(StrEnum):
    """Why branches of one value stay apart."""

    SHARED = "shared-intermediate"
    OUTPUT = "graph-output"
    STRIDES = "strides-differ"
    PADS = "pads-differ"
    BORDER = "padding-between"
    COST = "not-cheaper"
    RANGE = "weight-range"


class Unmergeable(Exception):
    """Raised by the algebra where two linear operators are not one; the text is the second half of a sentence."""

    def __init__(self, hindrance: Hindrance, detail: str) -> None:
        super().__init__(detail)
        self.hindrance = hindrance


@dataclass(frozen=True)
class Merge:
    """Nodes that became one, or moved.

    Attributes:
        rule: what was done.
        nodes: names of the nodes that were there, in graph order; a node without a name goes by that of its output.
        into: names of the nodes that took their place.
        work_before: multiply-adds for one output position, all channels; 0 where nothing is multiplied.
        work_after: the same for what took their place.
    """

    rule: Rule
    nodes: tuple[str, ...]
    into: tuple[str, ...]
    work_before: float
    work_after: float


@dataclass(frozen=True)
class Unmerged:
    """An addition of linear functions of one value that stayed.

    Attributes:
        name: the node that would have become a Conv: the Add in most cases.
        hindrance: why it stayed.
        detail: the same in words.
    """

    name: str
    hindrance: Hindrance
    detail: str


@dataclass(frozen=True)
class MergeReport:
    """The account of one merge.

    Attributes:
        merges: what was done, in the order in which it was.
        unmerged: what stayed, in graph order.
        nodes_before: nodes that run, before.
        nodes_after: nodes that run, after.
    """

    merges: tuple[Merge, ...]
    unmerged: tuple[Unmerged, ...]
    nodes_before: int
    nodes_after: int

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON-able data."""
        return {"schema": SCHEMA, **asdict(self)}
