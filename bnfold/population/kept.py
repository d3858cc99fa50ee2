"""BN layers that keep the statistics that they have, and why."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a BN layer keeps the statistics that it has."""

    FROZEN = "frozen"
    UNTRACKED = "untracked"
    UNREACHED = "unreached"
    NESTED = "nested"
    COMPUTED = "computed"
    TRAINING = "training"
    RECURRENT = "recurrent"


_WORDS = {
    Reason.FROZEN: "is frozen; its statistics stay as they are",
    Reason.UNTRACKED: "keeps no running statistics; it uses the minibatch's at inference too",
    Reason.UNREACHED: "was not reached by any batch; its statistics stay as they are",
    Reason.NESTED: "lies within an If, Loop or Scan; its statistics stay as they are",
    Reason.COMPUTED: "gets its statistics from other nodes or from an input of the graph; there is nothing to set",
    Reason.TRAINING: "is in training mode; it uses the minibatch's statistics at inference too",
    Reason.RECURRENT: "is called several times, each on what came of another; its statistics stay as they are",
}


@dataclass(frozen=True)
class KeptLayer:
    """A BN layer that was left alone: its name in the model and the reason."""

    name: str
    reason: Reason

    def __str__(self) -> str:
        return f"BN layer {self.name} {_WORDS[self.reason]}."
