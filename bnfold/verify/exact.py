"""The fold of a graph done again in double precision: what a candidate that bnfold folded should hold, unrounded."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from bnfold.errors import InputError
from bnfold.folding import Objective, fold
from bnfold.progress import Progress, silent
from bnfold.verify.oracle import widened


@dataclass(frozen=True)
class ExactFold:
    """A graph that computes what the original does, in double.

    Attributes:
        model: the graph; every weight and every value is double.
        words: which fold it is.
        same_structure: whether the candidate has just its nodes, so that weights are all in which the two can differ.
    """

    model: ir.Model
    words: str
    same_structure: bool


def exact_folds(original: ir.Model, candidate: ir.Model, progress: Progress = silent) -> tuple[ExactFold, ...]:
    """Return the folds of ``original``, most likely first: one alone where the candidate has its structure.

    Widened first, so that the folding engine plans and rewrites in double; nothing is read off the candidate's weights.
    A graph whose parameters cannot be folded at all (NaN) has none: the comparison itself says why.
    """
    folds = list[ExactFold]()
    for objective in progress(list(Objective), description="exact fold"):
        model = widened(original)
        try:
            fold(model, objective)
        except InputError:
            return ()
        found = ExactFold(model, f"bnfold's fold, {objective.value}", structure(model) == structure(candidate))
        if found.same_structure:
            return (found,)
        folds.append(found)
    return tuple(folds)


def structure(model: ir.Model) -> Counter[tuple[str, ...]]:
    """Return every node as its operator and the names of its results; where two graphs agree, so do their values."""
    return Counter(_nodes(model))


def _nodes(model: ir.Model) -> Iterator[tuple[str, ...]]:
    for node in model.graph:
        if node.op_type != "Constant":  # `load_for_comparison` turns them into initializers
            yield (node.op_type, *(output.name or "" for output in node.outputs))
