"""The values that a verification judges: every evaluation of both graphs, batch by batch, in float64."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from bnfold.errors import InputError
from bnfold.graph import load
from bnfold.progress import Progress
from bnfold.verify.baseline import Baseline, open_baseline
from bnfold.verify.edge_cases import EdgeCases
from bnfold.verify.oracle import Array, Oracle
from bnfold.verify.rounding import MANY, ROUNDING_DRAWS, RoundedAgain
from bnfold.verify.samples import Arrays, as_doubles, batch_of, joined
from bnfold.verify.signature import Signature
from bnfold.verify.tolerance import Size


@dataclass(frozen=True)
class Reference:
    """What the candidate is held to: the original by the oracle, batch by batch, and as it runs, the baseline.

    ``edges`` are both for every edge case, None for one that the original does not take.
    """

    batches: Sequence[Mapping[str, Array]]
    baseline: Mapping[str, Array]
    edges: "Sequence[OnEdge | None]" = ()

    @property
    def oracle(self) -> Mapping[str, Array]:
        """Return the oracle's values of all batches."""
        return joined(self.batches)


OnEdge = tuple[Mapping[str, Array], Mapping[str, Array]]
"""What the original gives for an edge case: by the oracle, and as it runs."""


def load_for_comparison(path: Path) -> ir.Model:
    """Read an ONNX file; constants inside nodes become initializers, so that all weights are found in one place.

    Raises:
        InputError: as ``bnfold.graph.load``.
    """
    return lift_constants(load(path))


def require_oracle(path: Path, model: ir.Model) -> None:
    """Check that the oracle knows the operators of ``model``, read from ``path``.

    Raises:
        InputError: it does not; names the file.
    """
    try:
        Oracle.of(model)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def lift_constants(model: ir.Model) -> ir.Model:
    """Turn the constants inside the nodes of ``model`` into initializers, and return it."""
    passes.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=1)(model)
    return model


def evaluate_original(
    path: Path, model: ir.Model, inputs: Arrays, plan: Sequence[slice], edges: EdgeCases, progress: Progress
) -> Reference:
    """Evaluate the original twice: by the oracle, and as it runs itself."""
    batches = evaluate_in_double(model, inputs, plan, progress, "float64, original")
    with open_baseline(path, model) as run:
        parts = [run(batch_of(inputs, where)) for where in progress(plan, description="baseline")]
        cases = [batch_of(edges.inputs, where) for where in edges.plan]
        on_edges = (
            [_on_edge(case, Oracle.of(model), run) for case in progress(cases, description="edge cases")]
            if cases
            else []
        )
    return Reference(batches, as_doubles(joined(parts)), on_edges)


def _on_edge(case: Arrays, oracle: Oracle, run: Baseline) -> OnEdge | None:
    try:
        return as_doubles(oracle.run(case)), as_doubles(run(case))
    except InputError:
        return None


def evaluate_in_double(
    model: ir.Model, inputs: Arrays, plan: Sequence[slice], progress: Progress, description: str
) -> list[dict[str, Array]]:
    """Evaluate a graph by the oracle, batch by batch."""
    oracle = Oracle.of(model)
    return [as_doubles(oracle.run(batch_of(inputs, where))) for where in progress(plan, description=description)]


@dataclass(frozen=True)
class Stored:
    """The candidate as it is stored, in double, and by output how far roundings of all its weights move it."""

    outputs: Mapping[str, Array]
    rounding: Mapping[str, Size]


def evaluate_candidate(model: ir.Model, inputs: Arrays, plan: Sequence[slice], progress: Progress) -> Stored:
    """Evaluate the candidate by the oracle over all batches, and a few of them again with every weight rounded anew.

    Two draws do where they move `MANY` numbers of each output, else it takes `ROUNDING_DRAWS`. Each takes another
    batch, and of that, where the outputs tell samples apart, the sample with the largest outputs and the first one:
    more would cost more than all other evaluations together.
    """
    oracle = Oracle.of(model)
    parts = [oracle.run(batch_of(inputs, where)) for where in progress(plan, description="float64, candidate")]
    generator = np.random.default_rng(0)
    moves: list[dict[str, Size]] = []
    for draw in progress(range(ROUNDING_DRAWS), description="float64, weights rounded anew"):
        batch, exact = batch_of(inputs, plan[draw % len(plan)]), as_doubles(parts[draw % len(plan)])
        few = _few(batch, exact, fixed=Signature.of(model).fixed_batch is not None)
        if few is not None:
            batch, exact = ({name: array[few] for name, array in arrays.items()} for arrays in (batch, exact))
        moved = as_doubles(oracle.run(batch, weights=RoundedAgain(model, generator)))
        moves.append({name: Size.of_difference(moved[name], exact[name]) for name in exact})
        if len(moves) == 2 and all(2 * array.size >= MANY for array in exact.values()):
            break
    return Stored(as_doubles(joined(parts)), {name: Size.pooled([move[name] for move in moves]) for name in moves[0]})


def _few(batch: Arrays, outputs: Mapping[str, Array], *, fixed: bool) -> list[int] | None:
    """Return which samples of a batch stand for it; None for all, where it is fixed or samples are not told apart."""
    counts = {len(array) if array.ndim else 0 for array in (*batch.values(), *outputs.values())}
    if fixed or len(counts) != 1 or (size := counts.pop()) < 3:
        return None
    largest = np.max([np.abs(array).reshape(size, -1).max(axis=1, initial=0.0) for array in outputs.values()], axis=0)
    return sorted({0, int(np.nanargmax(np.where(np.isnan(largest), -1.0, largest)))})
