"""Loop and Scan over bodies that the oracle evaluates.

The reference implementation joins the values that a Loop collects along an axis that they have already, lets values of
the outer graph hide the loop's own of the same name, and knows Scan forwards along the leading axis only.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from bnfold.errors import InputError
from bnfold.verify.oracle.types import Value


class Loop(OpRun):
    """Run the body while its condition holds, at most M times; what it collects is stacked (ONNX Loop-1 to -23)."""

    op_domain = ""

    def need_context(self) -> bool:
        """Say that the body may read any value of the graph around it."""
        return True

    def _run(
        self, limit: Value | None, condition: Value | None, *carried: Value, context: Any, body: Any, **_: object
    ) -> tuple[Value, ...]:
        names, state = body.input_names, list(carried)
        collected: list[list[Value]] = [[] for _ in range(len(body.output_names) - 1 - len(carried))]
        turn, going = 0, condition is None or bool(condition)
        while going and (limit is None or turn < int(limit)):
            own = dict(zip(names, (np.asarray(turn), np.asarray(going), *state), strict=True))
            keep, *results = body.run(None, {**context, **own})
            state = results[: len(carried)]
            for values, result in zip(collected, results[len(carried) :], strict=True):
                values.append(result)
            turn, going = turn + 1, bool(keep)
        return (*state, *_stacked(collected, [0] * len(collected), [0] * len(collected)))


class Scan(OpRun):
    """Run the body over the slices of its scanned inputs, and stack its scanned outputs (ONNX Scan-9 to -23)."""

    op_domain = ""

    def need_context(self) -> bool:
        """Say that the body may read any value of the graph around it."""
        return True

    def _run(
        self,
        *arguments: Value,
        context: Any,
        body: Any,
        num_scan_inputs: int,
        scan_input_axes: Sequence[int] | None = None,
        scan_input_directions: Sequence[int] | None = None,
        scan_output_axes: Sequence[int] | None = None,
        scan_output_directions: Sequence[int] | None = None,
        **_: object,
    ) -> tuple[Value, ...]:
        carried = len(arguments) - num_scan_inputs
        state, scanned = list(arguments[:carried]), arguments[carried:]
        axes, backward = scan_input_axes or [0] * len(scanned), scan_input_directions or [0] * len(scanned)
        slices = [
            np.moveaxis(x, axis, 0)[:: -1 if back else 1] for x, axis, back in zip(scanned, axes, backward, strict=True)
        ]
        count = len(body.output_names) - carried
        collected: list[list[Value]] = [[] for _ in range(count)]
        for parts in zip(*slices, strict=True):
            own = dict(zip(body.input_names, (*state, *map(np.asarray, parts)), strict=True))
            results = body.run(None, {**context, **own})
            state = results[:carried]
            for values, result in zip(collected, results[carried:], strict=True):
                values.append(result)
        return (*state, *_stacked(collected, scan_output_axes or [0] * count, scan_output_directions or [0] * count))


def _stacked(collected: Sequence[list[Value]], axes: Sequence[int], backward: Sequence[int]) -> Iterator[Value]:
    for values, axis, back in zip(collected, axes, backward, strict=True):
        if not values:
            raise InputError("it runs not once, and what it would have collected has no known shape")
        yield np.stack(values[::-1] if back else values, axis)
