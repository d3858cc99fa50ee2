"""Coarser arithmetic is emulated where it rounds, recognized by its errors, and named on the right rung."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.progress import silent
from bnfold.verify import Verdict, VerificationReport, verify
from bnfold.verify.edge_cases import EdgeCases
from bnfold.verify.emulation import Arithmetic, emulating, tf32
from bnfold.verify.evidence import evaluate_original, load_for_comparison
from bnfold.verify.fingerprint import recognized
from bnfold.verify.ladder import Rung, RungName, where_the_error_enters
from bnfold.verify.oracle import Oracle
from bnfold.verify.provider import Provider
from bnfold.verify.run import Run
from bnfold.verify.tolerance import Size, Tolerance
from bnfold.verify.trial import Original, Sessions, Trial
from tests.verify.graphs import FAULTS, Arrays, Fold, images, network, random_layers, right, saved
from tests.verify.recordings import ON_CUDA


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_tf32_keeps_ten_bits(value: float) -> None:
    """Rounded to nearest: at most half a step of 2⁻¹⁰ away, and what has ten bits already stays."""
    (rounded,) = tf32(np.array([value]))
    assert abs(rounded - value) <= 2.0**-11 * abs(value)
    assert tf32(np.array([rounded])) == rounded


def test_tf32_of_known_values() -> None:
    """1 + 2⁻¹⁰ is exact, 1 + 2⁻¹¹ is a tie and goes to even, infinities and NaN stay."""
    values = np.array([1 + 2.0**-10, 1 + 2.0**-11, 1 + 3 * 2.0**-11, -3.0, 0.0, np.inf, np.nan])
    expected = [1 + 2.0**-10, 1.0, 1 + 2.0**-9, -3.0, 0.0, np.inf, np.nan]
    np.testing.assert_array_equal(tf32(values), expected)


def test_tf32_rounds_the_operands_of_products_only() -> None:
    """Of a network's values those behind convolutions differ; a Relu and an Add round nothing."""
    graph = ir.from_proto(network(random_layers(), right))
    exact, rounded = Oracle(graph).run(images(2)), Oracle(graph).run(images(2), hook=emulating(Arithmetic.TF32))
    relative = Size.of_difference(rounded["logits"], exact["logits"]).rms / Size.of(exact["logits"]).rms
    assert 1e-5 < relative < 1e-3
    bias_only = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (float[N] y) { z = Relu (x) y = Add (z, x) }'
    )
    x = {"x": np.random.default_rng(0).normal(size=9).astype(np.float32)}
    plain, same = (Oracle(ir.from_proto(bias_only)).run(x, hook=h)["y"] for h in (None, emulating(Arithmetic.TF32)))
    np.testing.assert_array_equal(plain, same)


@pytest.mark.parametrize("arithmetic", [Arithmetic.FLOAT16, Arithmetic.BFLOAT16])
def test_half_precision_holds_only_its_own_numbers(arithmetic: Arithmetic) -> None:
    """Every output is a number of the type."""
    graph = ir.from_proto(network(random_layers(), right))
    values = Oracle(graph).run(images(2), hook=emulating(arithmetic))["logits"]
    dtype = np.float16 if arithmetic is Arithmetic.FLOAT16 else ml_dtypes.bfloat16
    np.testing.assert_array_equal(values, values.astype(dtype).astype(np.float64))


def deep(fold: Fold | None = None, layers: int = 12) -> onnx.ModelProto:
    """Return a deeper network of equal layers, in which single roundings have room to fall differently."""
    first, _, _ = random_layers(0)
    square = [random_layers(seed)[1] for seed in range(layers)]
    wide = [replace(each, weight=np.concatenate([each.weight] * 2, axis=1)[:, :6], group=1) for each in square]
    entry = replace(
        first,
        **{name: getattr(first, name)[:6] for name in ("weight", "bias", "gamma", "beta", "mean", "variance")},
    )
    return network([entry, *wide], fold)


@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_an_arithmetic_is_recognized_by_its_errors(arithmetic: Arithmetic) -> None:
    """Recorded outputs that were computed in it, with float32 noise on top, are told from those of the other two."""
    graph = ir.from_proto(deep(right))
    inputs = images(3)
    exact = Oracle(graph).run(inputs)
    run = Oracle(graph).run(inputs, hook=emulating(arithmetic))
    noise = np.random.default_rng(0).normal(size=run["logits"].shape) * 1e-6
    assert recognized(graph, inputs, {"logits": run["logits"] * (1 + noise)}, exact) is arithmetic


def test_other_errors_of_that_size_are_not_recognized() -> None:
    """Noise as large as that of TF32 is nobody's fingerprint."""
    graph = ir.from_proto(deep(right))
    exact = Oracle(graph).run(images(3))
    noise = np.random.default_rng(0).normal(size=exact["logits"].shape) * 3e-4
    assert recognized(graph, images(3), {"logits": exact["logits"] * (1 + noise)}, exact) is None


@dataclass(frozen=True)
class Recorded:
    """A comparison whose device run is recorded rather than made here."""

    folder: Path
    inputs: Arrays

    def judged(self, candidate: onnx.ModelProto, outputs: Mapping[str, np.ndarray]) -> VerificationReport:
        """Judge the fold ``candidate`` with ``outputs`` as what CUDA gave for all samples as one batch."""
        original = saved(network(random_layers()), self.folder / "a.onnx")
        path = saved(candidate, self.folder / "b.onnx")
        ours, theirs = load_for_comparison(original), load_for_comparison(path)
        plan = [slice(0, 8)]
        trial = Trial(
            theirs,
            self.inputs,
            plan,
            EdgeCases.none(),
            Provider.CUDA,
            0,
            silent,
            {"original": original, "candidate": path},
        )
        reference = evaluate_original(original, ours, self.inputs, plan, EdgeCases.none(), silent)
        sessions = Sessions(Run((outputs,), ON_CUDA), cpu=Run((reference.baseline,), ON_CUDA))
        return trial.report(sessions, reference, ir.DataType.FLOAT, Original(original, ours, ()))


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """Return a comparison on eight samples."""
    return Recorded(tmp_path, images(8))


@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_a_device_that_rounds_is_named(recorded: Recorded, arithmetic: Arithmetic) -> None:
    """Right fold, right placement, coarser arithmetic: not equivalent, on the runtime's rung, and by name."""
    candidate = network(random_layers(), right)
    outputs = Oracle(ir.from_proto(candidate)).run(recorded.inputs, hook=emulating(arithmetic))
    report = recorded.judged(candidate, outputs)
    assert (report.verdict, report.fingerprint) == (Verdict.NOT_EQUIVALENT, arithmetic)
    assert [(rung.name, rung.passed) for rung in report.ladder] == [
        (RungName.STORAGE, True),
        (RungName.CPU, True),
        (RungName.RUNTIME, False),
    ]
    assert "enters on the rung runtime: the stored graph is right, the provider rounds" in report.diagnosis
    assert f"its errors are those of {arithmetic}" in report.diagnosis


def test_a_wrong_fold_is_not_blamed_on_the_device(recorded: Recorded) -> None:
    """The same device run of a graph that is wrong already: the stored graph is named."""
    candidate = network(random_layers(), FAULTS["wrong_epsilon"])
    outputs = Oracle(ir.from_proto(candidate)).run(recorded.inputs, hook=emulating(Arithmetic.TF32))
    report = recorded.judged(candidate, outputs)
    assert (report.fingerprint, "enters on the rung storage" in report.diagnosis) == (None, True)


def test_a_broken_kernel_is_named_beside_a_right_cpu(recorded: Recorded) -> None:
    """One wrong number on the device: the runtime's rung, while the CPU's is right; no arithmetic explains it."""
    candidate = network(random_layers(), right)
    outputs = Oracle(ir.from_proto(candidate)).run(recorded.inputs)
    outputs["logits"][3, 4] += 0.1
    report = recorded.judged(candidate, outputs)
    assert report.fingerprint is None
    assert "the runtime's result is not (the CPU runtime is right)" in report.diagnosis


def test_a_candidate_in_half_precision_has_a_rung_of_its_own(tmp_path: Path) -> None:
    """A float32 original stored in float16: most of the error enters there, and the sentence says so."""
    layers = random_layers()
    half = network(layers, right, dtype=np.float16)
    for ports, cast in ((half.graph.input, "float16_in"), (half.graph.output, "float16_out")):
        for port in ports:
            for node in half.graph.node:
                node.input[:] = [cast if name == port.name else name for name in node.input]
                node.output[:] = [cast if name == port.name else name for name in node.output]
            port.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    half.graph.node.insert(0, onnx.helper.make_node("Cast", ["images"], ["float16_in"], to=onnx.TensorProto.FLOAT16))
    half.graph.node.append(onnx.helper.make_node("Cast", ["float16_out"], ["logits"], to=onnx.TensorProto.FLOAT))
    brightness = np.linspace(0.1, 10, 8, dtype=np.float32)[:, None, None, None]  # outputs far more apart than the limit
    files = saved(network(layers), tmp_path / "a.onnx"), saved(half, tmp_path / "b.onnx")
    report = verify(*files, {"images": images(8)["images"] * brightness})
    names = [rung.name for rung in report.ladder]
    assert RungName.FLOAT16 in names
    assert RungName.STORAGE not in names
    assert report.verdict is Verdict.EQUIVALENT  # as far as float16 can be
    assert "enters on the rung" in report.diagnosis


def rung(name: RungName, error: float, *, judged: bool = True) -> Rung:
    """Return a rung whose limit is 9."""
    return Rung(name, Size(error, error), Tolerance(Size(1.0, 1.0), Size(1.0, 1.0)), judged)


def test_the_sentence_names_the_first_rung_that_fails() -> None:
    """Not the worst one, and not one that is only measured."""
    rungs = [rung(RungName.ALGEBRA, 1.0), rung(RungName.CPU, 20.0, judged=False), rung(RungName.RUNTIME, 10.0)]
    assert "the rung runtime" in where_the_error_enters(rungs)
    assert "(the CPU runtime is wrong as well)" in where_the_error_enters(rungs)
    assert "the rung algebra" in where_the_error_enters([rung(RungName.ALGEBRA, 10.0), *rungs[1:]])


def test_where_all_pass_it_names_where_most_of_the_error_comes_from() -> None:
    """The first rung that has more than half of the last one's error; none where there is none."""
    rungs = [rung(RungName.ALGEBRA, 1e-9), rung(RungName.STORAGE, 3.0), rung(RungName.RUNTIME, 4.0)]
    assert where_the_error_enters(rungs).endswith("most of the error there is enters on the rung storage.")
    assert "there is no error" in where_the_error_enters([rung(RungName.RUNTIME, 0.0)])
    assert where_the_error_enters([]) == "Nothing was compared."
