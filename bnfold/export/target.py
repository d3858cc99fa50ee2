"""Who loads the file: any runtime, or ONNX Runtime alone, whose own fusions are then in it already.

ONNX Runtime fuses a graph whenever it loads one. `fuse` has it do so once, and keeps the result: a session then has
less to do at its start, and one whose optimizations are off runs the fused operators all the same. Their domain is
``com.microsoft``, which no other runtime knows.

The level is *extended*, for the CPU provider. The level above lays weights out in blocks that fit one processor, which
a file that is to run elsewhere cannot have.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from bnfold.errors import InputError
from bnfold.export.definitions import find_schema
from bnfold.graph import load, save
from bnfold.graph.signature import kept_signature
from bnfold.verify.evidence import lift_constants
from bnfold.verify.oracle import Oracle
from bnfold.verify.oracle.operators import RUNTIME_DOMAIN
from bnfold.verify.provider import Provider
from bnfold.verify.rounding import precision
from bnfold.verify.runtime import onnxruntime_module, open_session

SCHEMA = "bnfold.target/1"


_QUANTIZED = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})


class Target(StrEnum):
    """Which runtimes load the file: all that know the standard, or ONNX Runtime."""

    ONNX = "onnx"
    ORT = "ort"


@dataclass(frozen=True)
class TargetReport:
    """What ONNX Runtime made of a graph.

    Attributes:
        onnxruntime: its version; older ones may not know the operators.
        before: nodes that were given to it.
        after: nodes that it left.
        operators: those of its own, by type, with how many there are: of its domain, or of the standard's in a graph
            whose operator set does not have them yet.
    """

    onnxruntime: str
    before: int
    after: int
    operators: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able data."""
        return {"schema": SCHEMA, "name": Target.ORT.value, **asdict(self)}


def require_fusable(model: ir.Model, *, dtype: ir.DataType | None, provider: str) -> None:
    """Check that `fuse` is of use to a graph, before anything is done for it.

    Args:
        model: the graph, which stays as it is.
        dtype: what its weights will be stored in; None for what they are.
        provider: where it is to run.

    Raises:
        InputError: it is not for the CPU provider, its weights are float16 or bfloat16, or it is quantized.
    """
    if provider != Provider.CPU:
        raise InputError(
            f"--target ort: ONNX Runtime fuses for its CPU provider, and --provider {provider} has other fusions, made "
            "when it loads the graph: leave --target out."
        )
    dtype = dtype or precision(lift_constants(model.clone()))
    if dtype in {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}:
        raise InputError(
            f"--target ort: ONNX Runtime's CPU provider computes {dtype.name.lower()} in float32, and would write Casts"
            " into the graph: leave --target out, or add --precision float32."
        )
    quantized = next((node for node in model.graph.all_nodes() if node.op_type in _QUANTIZED), None)
    if quantized is not None:
        raise InputError(
            f"--target ort: the graph is quantized (node {quantized.name or quantized.op_type}), and how ONNX Runtime "
            "fuses that depends on the processor: leave --target out."
        )


def fuse(model: ir.Model) -> TargetReport:
    """Have ONNX Runtime optimize ``model`` for its CPU provider, in place.

    Inputs, outputs, metadata and the weights that it left alone stay as they are. The float64 oracle knows every
    operator of the result, so that `verify` can judge it.

    Raises:
        InputError: the runtime cannot load the graph, or the oracle does not know what it made of it.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    version, before = str(onnxruntime_module().__version__), _count(model.graph)
    with TemporaryDirectory(prefix="bnfold-") as folder:
        given, written = Path(folder) / "given.onnx", Path(folder) / "fused.onnx"
        save(model, given)
        try:
            with open_session(given, optimized=True, fused=written):
                fused = load(written)
            _hold(fused, model)
            passes.RemoveUnusedOpsetsPass()(fused)
            Oracle(fused)
        except InputError as error:
            raise InputError(f"--target ort: {str(error).replace(str(given), 'the graph')}") from error
    with kept_signature(model):
        model.graph = fused.graph
    own = Counter(node.op_type for node in model.graph.all_nodes() if _is_own(node, model.graph.opset_imports[""]))
    return TargetReport(version, before, _count(model.graph), dict(sorted(own.items())))


def _is_own(node: ir.Node, opset: int) -> bool:
    return node.domain == RUNTIME_DOMAIN or (node.domain == "" and find_schema(node.op_type, opset) is None)


def _hold(fused: ir.Model, before: ir.Model) -> None:
    """Hold the weights in memory, since their file is a temporary one; those that stayed the same, as they were."""
    for graph in fused.graphs():
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if not isinstance(tensor, ir.ExternalTensor):
                continue
            array = tensor.numpy()
            known = before.graph.initializers[name].const_value if name in before.graph.initializers else None
            same = known is not None and known.dtype is tensor.dtype and np.array_equal(known.numpy(), array)
            value.const_value = known if same else ir.Tensor(array.copy(), dtype=tensor.dtype, name=name)


def _count(graph: ir.Graph) -> int:
    return sum(1 for _ in graph.all_nodes())
