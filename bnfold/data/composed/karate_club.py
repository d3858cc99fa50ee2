"""``karate-club``: who sided with whom, a real graph of 34 people (W. Zachary, 1977) that networkx carries."""

import functools

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.split import Split
from bnfold.errors import MissingDependencyError

PEOPLE = 34
_TOLD = 2
"""People of each club whose side a sample tells."""
_SAMPLES = {Split.TRAIN: 200, Split.TEST: 50}
_SEEDS = {Split.TRAIN: 0, Split.TEST: 1}
_TRAIN_PEOPLE = 20


@functools.cache
def karate_club(split: Split) -> Dataset:
    """Return ``people`` ``(N, 34, 3)``, ``graph`` ``(N, 34, 34)``, float32, and labels ``(N, 34)``.

    The club broke in two. In each sample the side of two people of either club is told: ``people`` holds the told side
    as one of two, and the logarithm of the number of friends; ``graph`` is D^(−1/2)·(A + I)·D^(−1/2) (T. Kipf,
    M. Welling, 2017). Labels are 0 or 1 for people whose side is to be found, −1 for all others. Training asks for 20
    people, the test for the other 14, who are neither told nor asked for in training.
    """
    adjacency, sides = _load()
    random = np.random.default_rng([_SEEDS[split], PEOPLE])
    known = np.sort(np.random.default_rng(0).permutation(PEOPLE)[:_TRAIN_PEOPLE])
    asked = known if split is Split.TRAIN else np.setdiff1d(np.arange(PEOPLE), known)
    count = _SAMPLES[split]
    people = np.zeros((count, PEOPLE, 3), np.float32)
    people[:, :, 2] = np.log(adjacency.sum(axis=1))
    labels = np.full((count, PEOPLE), -1)
    labels[:, asked] = sides[asked]
    for sample in range(count):
        told = np.concatenate([random.choice(known[sides[known] == side], _TOLD, replace=False) for side in (0, 1)])
        people[sample, told, sides[told]] = 1
        labels[sample, told] = -1
    graph = np.broadcast_to(_normalized(adjacency), (count, PEOPLE, PEOPLE))
    return Dataset("karate-club", {"people": people, "graph": graph}, labels)


def _normalized(adjacency: Array) -> Array:
    linked = adjacency + np.eye(PEOPLE)
    root = np.sqrt(linked.sum(axis=1))
    return (linked / root[:, None] / root[None, :]).astype(np.float32)


def _load() -> tuple[Array, Array]:
    """Return who knows whom ``(34, 34)``, 0 or 1, and each one's side ``(34,)``."""
    try:
        import networkx
    except ImportError as error:
        raise MissingDependencyError(
            "karate-club: networkx, which carries the graph, is not installed; run pip install 'bnfold[train]'."
        ) from error
    graph = networkx.karate_club_graph()
    adjacency = (networkx.to_numpy_array(graph) > 0).astype(np.float64)
    sides = np.array([int(graph.nodes[person]["club"] != "Mr. Hi") for person in range(PEOPLE)])
    return adjacency, sides
