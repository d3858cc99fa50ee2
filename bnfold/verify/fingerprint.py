"""Which coarser arithmetic a run has computed in, recognized by its errors."""

import onnx_ir as ir

from bnfold.verify.emulation import Arithmetic, emulating
from bnfold.verify.oracle import Oracle
from bnfold.verify.samples import Arrays, as_doubles
from bnfold.verify.tolerance import Size

RECOGNIZED = 0.5
"""The emulation explains a run if what it leaves is half of the run's error or less. Errors of the same size that came
from elsewhere would leave √2 times as much; those of the same roundings leave almost nothing, or, deep in a network
where single roundings fall differently, a part."""


def recognized(candidate: ir.Model, inputs: Arrays, run: Arrays, right: Arrays) -> Arithmetic | None:
    """Return the arithmetic whose emulation of ``candidate`` comes closest to ``run``, if it explains its error.

    ``right`` are the oracle's outputs on the same inputs; all outputs are compared, the worst explained one counts.
    """
    oracle, left = Oracle.of(candidate), dict[Arithmetic, float]()
    for arithmetic in Arithmetic:
        emulated = as_doubles(oracle.run(inputs, hook=emulating(arithmetic)))
        left[arithmetic] = max(
            Size.of_difference(emulated[name], run[name]).rms / (Size.of_difference(run[name], right[name]).rms or 1.0)
            for name in run
        )
    best = min(left, key=left.__getitem__)
    return best if left[best] <= RECOGNIZED else None
