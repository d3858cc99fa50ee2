"""The original's own run, in its own precision: the baseline that every limit is measured by."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from bnfold.errors import NoKernelError
from bnfold.verify.emulation import rounding_to
from bnfold.verify.oracle import Oracle
from bnfold.verify.provider import Provider
from bnfold.verify.rounding import precision
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import Arrays

Baseline = Callable[[Arrays], Arrays]
"""Takes a batch of inputs and returns the outputs by name."""


@contextmanager
def open_baseline(path: Path, model: ir.Model) -> Generator[Baseline]:
    """Yield the run of ``model``, which lies at ``path``, on ONNX Runtime's CPU provider with its optimizations off.

    With them on, ONNX Runtime folds Conv and BatchNormalization itself: a candidate would be compared with a fold.

    Where that provider has no kernel for an operator in the graph's type (no convolution in float64 or bfloat16), the
    run is emulated: the oracle, with every weight and every result of a node rounded to the graph's precision.

    Raises:
        InputError: the runtime does not accept the model, or the oracle does not.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    try:
        session = open_session(path, Provider.CPU, optimized=False)
    except NoKernelError:
        yield emulated(model)
        return
    with session:
        yield session.run


def emulated(model: ir.Model) -> Baseline:
    """Return a run of ``model`` in emulated arithmetic of its own precision."""
    oracle, dtype = Oracle(model), precision(model)
    hook = None if dtype is ir.DataType.DOUBLE else rounding_to(dtype)
    types = {str(value.name): value.dtype for value in model.graph.outputs}

    def run(inputs: Arrays) -> Arrays:
        outputs = oracle.run(inputs, hook=hook)
        return {name: array.astype((types[name] or dtype).numpy()) for name, array in outputs.items()}

    return run
