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
from bnfold.verify.oracle import Array, Oracle
from bnfold.verify.placement import Placement
from bnfold.verify.provider import Provider
from bnfold.verify.rounding import rounded_again
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import Arrays, batch_of, joined
from bnfold.verify.tolerance import Size

ROUNDING_DRAWS = 4
"""Random roundings of the weights that are pooled: one alone may by chance leave an output of few weights in place."""


@dataclass(frozen=True)
class Reference:
    """What the candidate is held to: the original by the float64 oracle, and its own run, the baseline."""

    oracle: Mapping[str, Array]
    baseline: Mapping[str, Array]


def load_for_comparison(path: Path) -> ir.Model:
    """Read an ONNX file; constants inside nodes become initializers, so that all weights are found in one place.

    Raises:
        InputError: as ``bnfold.graph.load``.
    """
    model = load(path)
    passes.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=1)(model)
    return model


def evaluate_original(
    path: Path, model: ir.Model, inputs: Arrays, plan: Sequence[slice], progress: Progress
) -> Reference:
    """Evaluate the original twice: by the oracle, and on ONNX Runtime's CPU provider with its optimizations off.

    With them on, ONNX Runtime folds Conv and BatchNormalization itself: the candidate would be compared with a fold.
    """
    oracle = evaluate_in_double(model, inputs, plan, progress, "float64, original")
    with open_session(path, Provider.CPU, optimized=False) as session:
        parts = [session.run(batch_of(inputs, where)) for where in progress(plan, description="baseline")]
    return Reference(oracle, as_doubles(joined(parts)))


def evaluate_in_double(
    model: ir.Model, inputs: Arrays, plan: Sequence[slice], progress: Progress, description: str
) -> dict[str, Array]:
    """Evaluate a graph by the oracle over all batches."""
    oracle = Oracle(model)
    parts = [oracle.run(batch_of(inputs, where)) for where in progress(plan, description=description)]
    return as_doubles(joined(parts))


@dataclass(frozen=True)
class Run:
    """The candidate on its provider: its outputs, where it ran, or why it failed on inputs that the original takes."""

    outputs: Mapping[str, Array]
    placement: Placement
    failure: str | None = None


def run_candidate(path: Path, provider: Provider, inputs: Arrays, plan: Sequence[slice], progress: Progress) -> Run:
    """Run the candidate in one optimized session over all batches, whose shapes change, and record where it runs.

    Raises:
        InputError: ONNX Runtime cannot load the candidate.
        AttestationError: the provider cannot be loaded, or fails while it runs.
    """
    with open_session(path, provider, optimized=True, record=True) as session:
        parts: list[Arrays] = []
        for where in progress(plan, description=f"candidate on {provider}"):
            try:
                parts.append(session.run(batch_of(inputs, where)))
            except InputError as error:
                return Run({}, session.placement, f"samples {where.start} to {where.stop - 1}: {error}")
        return Run(as_doubles(joined(parts)), session.placement)


@dataclass(frozen=True)
class Stored:
    """The candidate as it is stored, in double, and by output how far roundings of all its weights move it."""

    outputs: Mapping[str, Array]
    rounding: Mapping[str, Size]


def evaluate_candidate(model: ir.Model, inputs: Arrays, plan: Sequence[slice], progress: Progress) -> Stored:
    """Evaluate the candidate by the oracle over all batches, and a few of them again with every weight rounded anew.

    Each draw of ``bnfold.verify.rounding`` takes the next batch, so that together they see many samples.
    """
    oracle = Oracle(model)
    parts = [oracle.run(batch_of(inputs, where)) for where in progress(plan, description="float64, candidate")]
    generator = np.random.default_rng(0)
    draws: list[dict[str, Size]] = []
    for draw in progress(range(ROUNDING_DRAWS), description="float64, weights rounded anew"):
        where, exact = plan[draw % len(plan)], as_doubles(parts[draw % len(plan)])
        moved = as_doubles(oracle.run({**batch_of(inputs, where), **rounded_again(model, generator)}))
        draws.append({name: Size.of_difference(moved[name], exact[name]) for name in exact})
    return Stored(as_doubles(joined(parts)), {name: Size.pooled([draw[name] for draw in draws]) for name in draws[0]})


def as_doubles(outputs: Arrays) -> dict[str, Array]:
    """Return the outputs as float64, in which every narrower float and every integer below 2⁵³ is exact."""
    return {name: array.astype(np.float64) for name, array in outputs.items()}
