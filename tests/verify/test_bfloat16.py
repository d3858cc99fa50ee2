"""bfloat16 and float64: arrays in and out of the runtime, golden data, a baseline where no kernel is, limits."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import safetensors.numpy
from onnx import TensorProto, helper

from bnfold.bundle.tensors import read_tensors
from bnfold.errors import AttestationError, NoKernelError
from bnfold.export import transform, write_bundle
from bnfold.export.precision import Precision
from bnfold.verify import Provider, Verdict, edge_cases, random_inputs, verify_bundle
from bnfold.verify.baseline import emulated, open_baseline
from bnfold.verify.edge_cases import EdgeCases
from bnfold.verify.evidence import evaluate_candidate, evaluate_original
from bnfold.verify.judgement import Precisions, Values, judge
from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import open_session
from bnfold.verify.samples import as_doubles, batches
from tests.verify.graphs import FAULTS, Fold, images, network, random_layers, right, saved


def wide_or_coarse(dtype: Any, fold: Fold | None = None) -> onnx.ModelProto:
    """Return the network in a type of its own, of an operator set that has all of its operators in it."""
    proto = network(random_layers(), fold, dtype=dtype)
    proto.opset_import[0].version, proto.ir_version = 22, 10
    onnx.checker.check_model(proto, full_check=True)
    return proto


def moved(dtype: int) -> onnx.ModelProto:
    """Return a graph that hands bfloat16 on and turns it into another type: the CPU has kernels for both."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["N", 4]) for name in "xy")
    z = helper.make_tensor_value_info("z", dtype, ["N", 4])
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Cast", ["x"], ["z"], to=dtype)]
    graph = helper.make_graph(nodes, "graph", [x], [y, z])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_arrays_pass_through_the_runtime() -> None:
    """Bit for bit, in any memory order, beside arrays of other types."""
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(ml_dtypes.bfloat16).T
    with open_session(moved(TensorProto.FLOAT).SerializeToString(), optimized=False) as session:
        found = session.run({"x": x})
    assert (found["y"].dtype, found["z"].dtype) == (x.dtype, np.float32)
    np.testing.assert_array_equal(found["y"], x)
    np.testing.assert_array_equal(found["z"], x.astype(np.float32))


def test_tensors_of_every_type_are_read(tmp_path: Path) -> None:
    """What safetensors writes of a NumPy array is read again."""
    types: list[Any] = [ml_dtypes.bfloat16, np.float16, np.float32, np.float64, np.bool_, np.int8, np.uint16, np.int64]
    tensors = {str(np.dtype(dtype)): np.arange(6).reshape(2, 3).astype(dtype) for dtype in types}
    (tmp_path / "t").write_bytes(safetensors.numpy.save(tensors))
    found = read_tensors(tmp_path / "t")
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_type_without_kernels_is_told(tmp_path: Path) -> None:
    """The operator and its node are named, and what to do."""
    path = saved(wide_or_coarse(ml_dtypes.bfloat16), tmp_path / "m.onnx")
    with pytest.raises(
        NoKernelError, match=r"ONNX Runtime on cpu has no Conv in the type of node .*--precision float32"
    ):
        open_session(path, Provider.CPU, optimized=True)


@pytest.mark.parametrize(("dtype", "roundoff"), [(ml_dtypes.bfloat16, 2.0**-8), (np.float64, 2.0**-53)])
def test_the_baseline_is_emulated_where_there_is_no_kernel(tmp_path: Path, dtype: Any, roundoff: float) -> None:
    """In float64 it is the oracle's own result, in bfloat16 off by some roundings of that type."""
    path = saved(wide_or_coarse(dtype), tmp_path / "m.onnx")
    model, inputs = ir.load(path), {"images": images(8)["images"].astype(dtype)}
    exact = Oracle(model).run(inputs)["logits"]
    with open_baseline(path, model) as run:
        found = run(inputs)["logits"]
    assert found.dtype == dtype
    error = np.sqrt(np.mean((found.astype(np.float64) - exact) ** 2)) / np.sqrt(np.mean(exact**2))
    assert error < 8 * roundoff
    assert roundoff < 1e-9 or error > roundoff / 8


def test_emulation_is_the_runtimes_own_arithmetic_within_its_roundings() -> None:
    """In float32, where there are kernels, the emulated run is as far from the oracle as the real one."""
    proto, inputs = network(random_layers()), images(8)
    model = ir.from_proto(proto)
    exact = Oracle(model).run(inputs)["logits"]
    with open_session(proto.SerializeToString(), optimized=False) as session:
        real = session.run(inputs)["logits"]
    errors = [np.sqrt(np.mean((run - exact) ** 2)) for run in (emulated(model)(inputs)["logits"], real)]
    assert 0.2 < errors[0] / errors[1] < 5


def judged(tmp_path: Path, fold: Fold) -> Verdict:
    """Judge a candidate in bfloat16 whose run is emulated, since the CPU has no kernels, on inputs that differ much."""
    path = saved(wide_or_coarse(ml_dtypes.bfloat16), tmp_path / "m.onnx")
    original, candidate = ir.load(path), ir.from_proto(wide_or_coarse(ml_dtypes.bfloat16, fold))
    inputs = random_inputs(original, 16, 0)
    plan = batches(16, None)
    reference = evaluate_original(path, original, inputs, plan, EdgeCases.none(), lambda items, **_: iter(items))
    stored = evaluate_candidate(candidate, inputs, plan, lambda items, **_: iter(items))
    run = as_doubles(emulated(candidate)(inputs))
    values = Values(
        oracle=reference.oracle["logits"],
        baseline=reference.baseline["logits"],
        run=run["logits"],
        stored=stored.outputs["logits"],
        rounding=stored.rounding["logits"],
        dtype=ir.DataType.BFLOAT16,
    )
    report, _ = judge("logits", values, 16, Precisions(ir.DataType.BFLOAT16, ir.DataType.BFLOAT16))
    assert report is not None
    return Verdict.EQUIVALENT if all(rung.passed for rung in report.ladder) else Verdict.NOT_EQUIVALENT


def test_limits_are_those_of_eight_bits(tmp_path: Path) -> None:
    """A right fold in bfloat16 is within them; one that is wrong by more than the type's roundings is not."""
    assert judged(tmp_path, right) is Verdict.EQUIVALENT
    assert judged(tmp_path, FAULTS["unscaled_bias"]) is Verdict.NOT_EQUIVALENT


def test_edge_cases_are_of_the_type() -> None:
    """Denormal means below the type's own smallest normal number."""
    cases = edge_cases(ir.from_proto(wide_or_coarse(ml_dtypes.bfloat16)), {}, 0)
    array = cases.inputs["images"]
    assert array.dtype == ml_dtypes.bfloat16
    denormal = np.abs(array[cases.names.index("denormal")].astype(np.float64))
    assert 0 < denormal.max() < float(ml_dtypes.finfo(ml_dtypes.bfloat16).smallest_normal)
    assert np.isfinite(array.astype(np.float64)).all()


def test_a_bundle_in_bfloat16(tmp_path: Path) -> None:
    """It is written and read with golden data in bfloat16; without a kernel it is not attested: no pass, no fault."""
    original = ir.from_proto(wide_or_coarse(ml_dtypes.bfloat16))
    inputs = random_inputs(original, 4, 0)
    made = transform(original.clone(), opset=22, precision=Precision.BFLOAT16, inputs=inputs)
    bundle = write_bundle(
        tmp_path / "bundle",
        model=made.graph,
        original=original,
        inputs=inputs,
        fold_report=made.to_dict(),
        provenance={},
        force=False,
    )
    assert bundle.inputs["images"].dtype == bundle.baseline["logits"].dtype == ml_dtypes.bfloat16
    assert bundle.precision is ir.DataType.BFLOAT16
    assert bundle.trace is not None
    with pytest.raises(AttestationError, match=r"--provider cpu: nothing ran there: .*has no"):
        verify_bundle(bundle.folder)
