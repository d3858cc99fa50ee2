"""The node at fault without the original: the values inside a candidate, held to a trace that was taken beside it.

A trace is taken where the original is at hand (`bnfold export`): of every value of the candidate that the exact fold of
the original has too, s·(v + σ) in double, it keeps a sketch, and how far roundings of all weights move that. Where the
candidate is verified, it is evaluated in double on the same samples, and every value is compared where it stands: exact
inputs, which would tell what one node does alone, are not at hand. So a node is to blame whose result is further off
than roundings explain while nothing that it depends on is; of what depends on a wrong value nothing more can be told.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from bnfold.bundle.trace import Trace
from bnfold.verify.evidence import lift_constants
from bnfold.verify.exact import exact_folds
from bnfold.verify.gauge import Gauge, measured_gauge
from bnfold.verify.local_error import LocalError, Localization
from bnfold.verify.localization import References, TooLarge, all_values
from bnfold.verify.oracle import Array, Oracle, Value
from bnfold.verify.oracle.evaluator import Step
from bnfold.verify.rounding import ROUNDING_DRAWS, UNIT_ROUNDOFF, RoundedAgain, precision
from bnfold.verify.samples import Arrays
from bnfold.verify.sketch import sketch
from bnfold.verify.tolerance import K, Size

PARTS = 256
"""Numbers that a sketch has at most."""

ROOM = 2**17
"""Numbers that the sketches of one trace have at most together (1 MiB), but for `FEWEST` a value."""

FEWEST = 4


def take_trace(original: ir.Model, candidate: ir.Model, inputs: Arrays) -> Trace | None:
    """Return the trace of what ``candidate`` should compute on ``inputs``, one batch; None if that is too large.

    The values are those of bnfold's exact fold of ``original``, or of the original itself, that most of the candidate's
    agree with.

    Raises:
        InputError: the oracle cannot evaluate a node.
    """
    original, candidate = (lift_constants(model.clone()) for model in (original, candidate))
    folds = exact_folds(original, candidate)
    try:
        references = References.of(original, folds, inputs)
        values = all_values(Oracle.of(candidate), inputs)
    except TooLarge:
        return None
    reference, exact = references.like(values)
    names = [name for name, value in values.items() if _comparable(value, exact.get(name))]
    if not names:
        return None
    parts = max(FEWEST, min(PARTS, ROOM // len(names)))
    model = next((fold.model for fold in folds if fold.words == reference), original)
    taken = np.stack([_row(exact[name], parts) for name in names])
    gauges = [measured_gauge(references.original[n], exact[n]) if n in references.original else None for n in names]
    return Trace(
        reference,
        max((len(array) for array in inputs.values() if array.ndim), default=1),
        tuple(names),
        tuple(exact[name].shape for name in names),
        sketch=taken,
        size=np.array([_pair(Size.of(sketch(exact[name], parts))) for name in names]),
        rounding=_rounding(model, precision(candidate), inputs, names, parts),
        gauge=np.array([_numbers(gauge) for gauge in gauges]),
    )


def _comparable(value: Value, exact: Value | None) -> bool:
    if exact is None or exact.shape != value.shape or not np.issubdtype(value.dtype, np.floating):
        return False
    return bool(exact.size and np.isfinite(exact).all())


def _row(values: Array, parts: int) -> Array:
    found = sketch(values, parts)
    return np.pad(found, (0, parts - len(found)))


def _pair(size: Size) -> tuple[float, float]:
    return size.rms, size.largest


def _numbers(gauge: Gauge | None) -> tuple[float, ...]:
    return (np.nan,) * 4 if gauge is None else (*gauge.scale, *gauge.shift)


def _rounding(model: ir.Model, dtype: ir.DataType, inputs: Arrays, names: list[str], parts: int) -> Array:
    """Return by value how far roundings of all weights of ``model`` to ``dtype`` move its sketch, (V, 2)."""
    oracle, generator = Oracle.of(model), np.random.default_rng(0)
    wanted = frozenset(names)
    exact = _sketches(oracle, inputs, wanted, parts)
    moves = [
        _sketches(oracle, inputs, wanted, parts, RoundedAgain(model, generator, dtype)) for _ in range(ROUNDING_DRAWS)
    ]
    return np.array([_pair(Size.pooled([Size.of_difference(m[name], exact[name]) for m in moves])) for name in names])


def _sketches(
    oracle: Oracle, inputs: Arrays, names: frozenset[str], parts: int, weights: Arrays | None = None
) -> dict[str, Array]:
    found: dict[str, Array] = {}

    def keep(_: Step, results: dict[str, Value]) -> Mapping[str, Value]:
        found.update({name: sketch(results[name], parts) for name in names & results.keys()})
        return results

    oracle.run(inputs, hook=keep, weights=weights)
    return found


def follow_trace(candidate: ir.Model, trace: Trace, inputs: Arrays) -> Localization:
    """Look for the first node of ``candidate`` whose result is not what ``trace`` says, while what it reads is.

    Raises:
        InputError: the oracle cannot evaluate a node.
    """
    walk = _Walk(trace, UNIT_ROUNDOFF[precision(candidate)])
    Oracle.of(candidate).run(inputs, hook=walk.judge)
    return Localization(trace.reference, 0, tuple(walk.found), tuple(walk.unmatched), exact_inputs=False)


class _Walk:
    """The evaluation of the candidate beside its trace."""

    def __init__(self, trace: Trace, roundoff: float) -> None:
        self.trace, self.roundoff = trace, roundoff
        self.rows = {name: row for row, name in enumerate(trace.names)}
        self.found: list[LocalError] = []
        self.unmatched: list[str] = []
        self._wrong = set[str]()
        self._pending: dict[str, tuple[str, ...]] = {}

    def judge(self, step: Step, results: dict[str, Value]) -> Mapping[str, Value]:
        """Compare the results of a node; what it computed goes on as it is."""
        wrong = inherited = not self._wrong.isdisjoint(step.inputs)
        chain = tuple(dict.fromkeys(node for name in step.inputs for node in self._pending.get(name, ())))
        chain = (*chain, step.name)
        for name, value in results.items():
            row = self.rows.get(name)
            if row is None:
                self._pending[name] = chain
                self.unmatched.append(name)
            else:
                error = self._error(step, chain, name, value, row, inherited=inherited)
                self.found.append(error)
                wrong = wrong or not error.passed
        if wrong:
            self._wrong.update(results)
        return results

    def _error(
        self, step: Step, chain: tuple[str, ...], name: str, value: Value, row: int, *, inherited: bool
    ) -> LocalError:
        trace = self.trace
        size, rounding = Size(*trace.size[row].tolist()), Size(*trace.rounding[row].tolist())
        limit, total = rounding * K + size * self.roundoff, Size(np.inf, np.inf)
        if value.shape == trace.shapes[row]:
            found = sketch(value, trace.sketch.shape[1])
            total = Size.of_difference(found, trace.sketch[row, : len(found)])
        low, high, least, most = trace.gauge[row].tolist()
        return LocalError(
            nodes=chain,
            op_type=step.op_type,
            value=name,
            introduced=None if inherited else total,
            limit=limit,
            total=total,
            size=size,
            gauge=None if np.isnan(low) else Gauge((low, high), (least, most)),
        )
