"""The evidence in a bundle: inputs, and what the unfolded graph makes of them, exactly and on the runtime."""

import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bnfold.errors import InputError, MissingDependencyError
from bnfold.files import sha256
from bnfold.graph import save
from bnfold.verify.baseline import open_baseline
from bnfold.verify.evidence import load_for_comparison
from bnfold.verify.oracle import Oracle
from bnfold.verify.rounding import precision
from bnfold.verify.samples import LARGEST_BATCH, batch_of, joined
from bnfold.verify.signature import Signature, check_inputs

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Golden:
    """What a bundle's model is held to, all by name, samples along the leading axis.

    Attributes:
        inputs: as given.
        outputs: of the unfolded graph by the float64 oracle, in float64.
        baseline: of the unfolded graph on ONNX Runtime's CPU provider with its optimizations off, in their own type.
        samples: how many.
        precision: the coarsest floating-point type that the unfolded graph stores a weight in, as `verify` finds it.
        graph_sha256: of the unfolded graph, as an ONNX file.
    """

    inputs: Arrays
    outputs: Arrays
    baseline: Arrays
    samples: int
    precision: ir.DataType
    graph_sha256: str


def compute_golden(original: ir.Model, inputs: Arrays) -> Golden:
    """Evaluate the unfolded graph on ``inputs``, in batches that bound the memory.

    Raises:
        InputError: the inputs do not fit the graph, or the oracle or ONNX Runtime cannot evaluate it.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    signature = Signature.of(original)
    samples = check_inputs(signature, inputs)
    size = signature.fixed_batch or LARGEST_BATCH
    parts = [batch_of(inputs, slice(start, start + size)) for start in range(0, samples, size)]
    oracle = Oracle(original)
    outputs = joined([oracle.run(part) for part in parts])
    with tempfile.TemporaryDirectory(prefix="bnfold-") as folder:
        path = Path(folder) / "original.onnx"
        save(original, path)
        with _naming_nothing(path), open_baseline(path, original) as run:
            baseline = joined([run(part) for part in parts])
        digest, stored = sha256(path), precision(load_for_comparison(path))
    doubles = {name: array.astype(np.float64) for name, array in outputs.items()}
    return Golden(inputs, doubles, baseline, samples, stored, digest)


@contextmanager
def _naming_nothing(path: Path) -> Generator[None]:
    """Leave the path of a temporary file out of messages: the caller knows the graph by another name."""
    try:
        yield
    except MissingDependencyError:
        raise
    except InputError as error:
        raise InputError(str(error).replace(str(path), "the model")) from error
