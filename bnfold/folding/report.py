"""What became of every Batch Normalization, and what the fold did to the graph as a whole."""

from dataclasses import asdict, dataclass
from enum import StrEnum

SCHEMA = "bnfold.fold/1"


class Reason(StrEnum):
    """Why a normalization was kept."""

    TRAINING_MODE = "training-mode"
    NOT_CONSTANT = "parameters-not-constant"
    NOT_FINITE = "parameters-not-finite"
    UNKNOWN_SHAPE = "unknown-shape"
    UNSUPPORTED = "unsupported-form"
    ZERO_SCALE = "zero-scale"
    SCALE_FIXED = "scale-fixed"
    SIGN_FIXED = "sign-fixed"
    SHIFT_FIXED = "shift-fixed"
    WEIGHT_RANGE = "weight-range"
    SLOWER = "slower"
    NOT_WRITABLE = "cannot-be-written-back"


@dataclass(frozen=True)
class Outcome:
    """What became, or would become, of one normalization.

    Attributes:
        name: the node's name, or its output's where it has none.
        into: names of the weights that took it up; empty where it was kept.
        reason: why it was kept; None where it was removed.
        witness: the operators that stand in the way, each with the value it holds fast.
        detail: the same in words that a user can act on.
    """

    name: str
    into: tuple[str, ...] = ()
    reason: Reason | None = None
    witness: str | None = None
    detail: str = ""

    @property
    def removed(self) -> bool:
        """Whether the normalization is gone."""
        return self.reason is None


@dataclass(frozen=True)
class Change:
    """A figure before and after the fold."""

    before: float
    after: float


@dataclass(frozen=True)
class FoldReport:
    """The account of one fold.

    Attributes:
        batch_norms: one outcome for each BatchNormalization of the graph, in graph order.
        pointwise_removed: names of Mul, Add, Sub and Div nodes by constants that were folded too.
        batch_norm_count: BatchNormalization nodes.
        elementwise: nodes that pass over a whole activation tensor element by element, BatchNormalization included.
        nodes: nodes that run; those that only prepare constants are not counted.
        bytes: size of all initializers.
        duplicated_bytes: what copies of weights that several calls had shared add to the file.
        largest_scale: largest |s| or 1/|s| of any channel.
        weight_range: largest over the rewritten weights of (largest / smallest channel maximum).
    """

    batch_norms: tuple[Outcome, ...]
    pointwise_removed: tuple[str, ...]
    batch_norm_count: Change
    elementwise: Change
    nodes: Change
    bytes: Change
    duplicated_bytes: int
    largest_scale: float
    weight_range: Change

    @property
    def removed_count(self) -> int:
        """Number of normalizations removed."""
        return sum(outcome.removed for outcome in self.batch_norms)

    @property
    def kept_count(self) -> int:
        """Number of normalizations kept."""
        return len(self.batch_norms) - self.removed_count

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON-able data."""
        return {"schema": SCHEMA, **asdict(self), "removed": self.removed_count, "kept": self.kept_count}
