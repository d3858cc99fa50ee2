import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from bnfold.errors import AttestationError, InputError
from bnfold.files import sha256
from bnfold.verify import Provider, Verdict, VerificationReport, verify
from bnfold.verify.diagnosis import what_is_missing
from bnfold.verify.report import RungName
from bnfold.verify.runtime import onnxruntime_module
from tests.verify.graphs import FAULTS, Layer, images, model, network, random_layers, right, saved

T = TypeVar("T")

Arrays = dict[str, npt.NDArray[Any]]

Comparison = Callable[..., VerificationReport]


@pytest.fixture
def compare(tmp_path: Path) -> Comparison:
    """Return a function that writes two models and verifies the second by the first."""

    def comparison(
        original: onnx.ModelProto, candidate: onnx.ModelProto, inputs: Arrays | None = None, **options: Any
    ) -> VerificationReport:
        ours, theirs = saved(original, tmp_path / "a.onnx"), saved(candidate, tmp_path / "b.onnx")
        return verify(ours, theirs, images(8) if inputs is None else inputs, **options)

    return comparison


def matrix(weights: npt.NDArray[Any], *more: onnx.NodeProto, **tensors: npt.NDArray[Any]) -> onnx.ModelProto:
    """Return y = x·w for x of any number of rows, followed by ``more`` nodes from z to y."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z" if more else "y"], name="product"), *more]
    rows, columns = weights.shape
    return model(nodes, {"x": ["N", rows]}, {"y": ["N", columns]}, {"w": weights, **tensors})


def rows(samples: int, columns: int, seed: int = 3) -> Arrays:
    """Return standard-normal rows for ``matrix``."""
    return {"x": np.random.default_rng(seed).standard_normal((samples, columns)).astype(np.float32)}


@pytest.mark.parametrize("seed", range(5))
def test_a_true_fold_is_equivalent(compare: Comparison, seed: int) -> None:
    """Folded in double and rounded once: exit code 0, with errors no larger than the original's own."""
    layers = random_layers(seed)
    report = compare(network(layers), network(layers, right), images(8, seed=seed))
    assert (report.verdict, report.exit_code, report.findings) == (Verdict.EQUIVALENT, 0, ())
    assert [rung.name for rung in report.ladder] == [RungName.ALGEBRA, RungName.STORAGE, RungName.RUNTIME]
    assert (report.samples, report.batch_sizes, report.compared_elements) == (8, (1, 2, 5), 80)
    (output,) = report.outputs
    assert output.baseline.relative_rmse < 1e-6
    assert output.candidate.top1 is not None
    assert output.candidate.top1.agreeing == output.candidate.top1.counted


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_planted_faults_are_caught(compare: Comparison, name: str, layer: int | None) -> None:
    """Each fault, in all layers or in any one: exit code 1, found in the stored graph, far over its limit."""
    layers = random_layers()

    def fold(each: Layer) -> tuple[Any, Any]:
        return (FAULTS[name] if layer is None or each is layers[layer] else right)(each)

    report = compare(network(layers), network(layers, fold))
    assert (report.verdict, report.exit_code) == (Verdict.NOT_EQUIVALENT, 1)
    assert "output logits: the candidate's graph or weights are wrong" in report.findings[0].words
    algebra, storage, runtime = report.ladder
    assert algebra.passed  # that of bnfold's own fold, which the candidate is not
    assert storage.excess > 10
    assert runtime.excess > 1
    assert "enters on the rung storage" in report.diagnosis
    assert report.localization is not None
    fault = report.localization.first_fault
    assert fault is not None
    assert fault.nodes == (f"conv{layer or 0}",)
    assert report.mutation is None  # a candidate that is wrong already has nothing to show by being made worse


def test_a_graph_compared_with_itself_has_no_error_of_storage(compare: Comparison) -> None:
    """The unfolded graph is its own equal; only the runtime's optimizer, which folds it, leaves a trace."""
    proto = network(random_layers())
    report = compare(proto, proto)
    storage, runtime = report.ladder
    assert report.verdict is Verdict.EQUIVALENT
    assert storage.error.largest == 0
    assert runtime.error.largest > 0


def test_the_exact_fold_adds_the_first_rung(compare: Comparison) -> None:
    """A fold in double that is not rounded agrees to 1e-12 and better, on a rung of its own."""
    layers = random_layers()
    exact = ir.from_proto(network(layers, right, dtype=np.float64))
    report = compare(network(layers), network(layers, right), exact=exact)
    assert report.verdict is Verdict.EQUIVALENT
    algebra = report.ladder[0]
    assert algebra.name is RungName.ALGEBRA
    assert algebra.error.largest < 1e-12
    assert algebra.tolerance.limit.largest < 1e-12


@pytest.mark.parametrize("name", FAULTS)
def test_wrong_algebra_is_told_from_wrong_storage(compare: Comparison, name: str) -> None:
    """Where the exact fold is wrong already, the finding says that it is the fold itself."""
    layers = random_layers()
    exact = ir.from_proto(network(layers, FAULTS[name], dtype=np.float64))
    report = compare(network(layers), network(layers, FAULTS[name]), exact=exact)
    assert report.exit_code == 1
    assert "the fold itself is wrong, in exact arithmetic" in report.findings[0].words


def test_half_precision_is_held_to_its_own_noise(compare: Comparison) -> None:
    """A network stored and folded in float16 is equivalent; one with an unscaled bias is not."""
    layers = random_layers()
    brightness = np.linspace(0.1, 3, 8)[:, None, None, None]  # averages of plain noise are too much alike for float16
    inputs = {"images": (images(8)["images"] * brightness).astype(np.float16)}
    original = network(layers, dtype=np.float16)
    assert compare(original, network(layers, right, dtype=np.float16), inputs).exit_code == 0
    assert compare(original, network(layers, FAULTS["unscaled_bias"], dtype=np.float16), inputs).exit_code == 1


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_old_opsets(compare: Comparison, opset: int) -> None:
    """Graphs of the time before training mode was an attribute are judged alike."""
    layers = random_layers()
    original = network(layers, opset=opset)
    assert compare(original, network(layers, right, opset=opset)).exit_code == 0
    assert compare(original, network(layers, FAULTS["wrong_epsilon"], opset=opset)).exit_code == 1


def test_fixed_batches(compare: Comparison) -> None:
    """A graph for batches of four runs eight samples in two of them."""
    layers = random_layers()
    report = compare(network(layers, batch=4), network(layers, right, batch=4))
    assert (report.exit_code, report.samples, report.batch_sizes) == (0, 8, (4,))


@pytest.mark.parametrize("batches", [("N", 4), (4, "N")])
def test_one_fixed_batch_fixes_both(compare: Comparison, batches: tuple[int | str, int | str]) -> None:
    """Where one of the graphs takes batches of four only, both get them."""
    layers = random_layers()
    original, candidate = network(layers, batch=batches[0]), network(layers, right, batch=batches[1])
    assert compare(original, candidate).batch_sizes == (4,)
    with pytest.raises(InputError, match="batches of 4, 6 samples are not a multiple"):
        compare(original, candidate, images(6))


def test_every_output_is_compared(compare: Comparison) -> None:
    """A fault in the second output alone is found and named."""
    weights = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)

    def two_outputs(factor: float) -> onnx.ModelProto:
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("Mul", ["y", "factor"], ["z"]),
            helper.make_node("ArgMax", ["y"], ["best"], axis=1),
        ]
        tensors = {"w": weights, "factor": np.array(factor, np.float32)}
        proto = model(nodes, {"x": ["N", 3]}, {"y": ["N", 5], "z": ["N", 5], "best": ["N", 1]}, tensors)
        proto.graph.output[2].type.tensor_type.elem_type = onnx.TensorProto.INT64
        return proto

    assert compare(two_outputs(2), two_outputs(2), rows(8, 3)).exit_code == 0
    report = compare(two_outputs(2), two_outputs(2.0001), rows(8, 3))
    assert report.exit_code == 1
    assert [finding.words.split(":")[0] for finding in report.findings] == ["output z"]


@pytest.mark.parametrize("kind", ["input", "output"])
def test_ports_in_another_order_are_no_equivalence(compare: Comparison, kind: str) -> None:
    """The same values by name, others by position: the comparison goes on, and the verdict says which orders."""
    weights = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["p", "w"], ["y"]),
        helper.make_node("MatMul", ["q", "w"], ["z"]),
    ]
    original = model(nodes, {"p": ["N", 3], "q": ["N", 3]}, {"y": ["N", 5], "z": ["N", 5]}, {"w": weights})
    candidate = onnx.ModelProto.FromString(original.SerializeToString())
    ports = getattr(candidate.graph, kind)
    ports.reverse()
    inputs = {"p": rows(8, 3)["x"], "q": rows(8, 3, seed=4)["x"]}
    assert compare(original, original, inputs).exit_code == 0
    report = compare(original, candidate, inputs)
    (finding,) = report.findings
    ours, theirs = ("[p, q]", "[q, p]") if kind == "input" else ("[y, z]", "[z, y]")
    assert (report.verdict, finding.about) == (Verdict.NOT_EQUIVALENT, "ports")
    assert finding.words.startswith(f"{kind}s in another order: {ours} in the original, {theirs} in the candidate")
    assert (len(report.outputs), all(rung.passed for rung in report.ladder)) == (2, True)


def test_integers_must_be_the_same(compare: Comparison) -> None:
    """An output of indices has no precision: one that differs is a difference."""

    def best_of(order: list[int]) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Gather", ["x", "order"], ["g"], axis=1),
            helper.make_node("ArgMax", ["g"], ["y"], axis=1),
        ]
        proto = model(nodes, {"x": ["N", 3]}, {"y": ["N", 1]}, {"order": np.array(order)})
        proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
        return proto

    assert compare(best_of([0, 1, 2]), best_of([0, 1, 2]), rows(8, 3)).exit_code == 0
    assert compare(best_of([0, 1, 2]), best_of([0, 2, 1]), rows(8, 3)).exit_code == 1


def test_an_exact_original_leaves_room_for_rounding(compare: Comparison) -> None:
    """Small integers have no error in float32; a candidate that divides by three and multiplies again has some."""
    generator = np.random.default_rng(0)
    weights = generator.integers(-9, 10, (20, 5)).astype(np.float32)
    inputs = {"x": generator.integers(-9, 10, (8, 20)).astype(np.float32)}
    original = matrix(weights)

    def thirds(factor: float) -> onnx.ModelProto:
        node = helper.make_node("Mul", ["z", "factor"], ["y"])
        return matrix((weights / 3).astype(np.float32), node, factor=np.array(factor, np.float32))

    report = compare(original, thirds(3), inputs)
    assert report.outputs[0].baseline.max_absolute == 0
    assert report.outputs[0].candidate.max_absolute > 0
    assert report.exit_code == 0
    assert compare(original, thirds(3.0001), inputs).exit_code == 1


@pytest.mark.parametrize(("original", "candidate", "expected"), [(False, True, 1), (True, False, 4), (True, True, 4)])
def test_nan_never_passes(compare: Comparison, original: bool, candidate: bool, expected: int) -> None:
    """NaN on one side or on both: a difference if only the candidate has it, else inconclusive."""
    layers = random_layers()
    protos = [network(layers), network(layers, right)]
    for proto, broken in zip(protos, (original, candidate), strict=True):
        if broken:
            bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "bias2")
            values = onnx.numpy_helper.to_array(bias).copy()
            values[0] = np.nan
            bias.CopyFrom(onnx.numpy_helper.from_array(values, "bias2"))
    report = compare(*protos)
    assert report.exit_code == expected
    json.dumps(report.to_dict(), allow_nan=False)


def test_infinity_never_passes(compare: Comparison) -> None:
    """1/0 in both graphs is equal, and inconclusive."""
    node = helper.make_node("Div", ["z", "zero"], ["y"])
    proto = matrix(np.ones((3, 2), np.float32), node, zero=np.array(0, np.float32))
    report = compare(proto, proto, rows(8, 3))
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_constant_output_never_passes(compare: Comparison) -> None:
    """Weights of zero make an output that no fault in front of it can change."""
    proto = matrix(
        np.zeros((3, 2), np.float32), helper.make_node("Add", ["z", "b"], ["y"]), b=np.array([1, 2], np.float32)
    )
    report = compare(proto, proto, rows(8, 3))
    assert [finding.about for finding in report.findings] == ["contrast", "self-test"]
    assert report.exit_code == 4
    assert "is the same for every sample" in report.findings[0].words


def test_a_saturated_output_never_passes(compare: Comparison) -> None:
    """An output whose variation drowns in its own rounding tells nothing."""
    weights = np.full((3, 2), 1e-9, np.float32)
    proto = matrix(weights, helper.make_node("Add", ["z", "b"], ["y"]), b=np.array([1, 2], np.float32))
    report = compare(proto, proto, rows(8, 3))
    assert report.exit_code == 4
    assert "less than 10 times its limit" in report.findings[0].words


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (images(0), "no samples: nothing was compared"),
        (images(1), "fewer than two different samples"),
        ({"images": np.repeat(images(1)["images"], 5, axis=0)}, "fewer than two different samples"),
        ({"images": np.full((4, 3, 12, 12), np.nan, np.float32)}, "input images is not finite"),
    ],
)
def test_hollow_inputs_never_pass(compare: Comparison, inputs: Arrays, words: str) -> None:
    """None, one, copies of one, or NaN: exit code 4, however equal the graphs are."""
    layers = random_layers()
    report = compare(network(layers), network(layers, right), inputs)
    assert (report.verdict, report.exit_code) == (Verdict.INCONCLUSIVE, 4)
    assert any(words in finding.words for finding in report.findings)


def test_empty_outputs_never_pass(compare: Comparison) -> None:
    """Zero columns are equal to zero columns, and nothing was compared."""
    proto = matrix(np.zeros((3, 0), np.float32))
    report = compare(proto, proto, rows(8, 3))
    assert (report.exit_code, report.compared_elements) == (4, 0)


def test_a_candidate_for_one_batch_size_only_differs(compare: Comparison) -> None:
    """A Reshape that hard-codes the batch runs for one sample and fails for two, where the original runs."""
    weights = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    flexible = helper.make_node("Reshape", ["z", "shape"], ["y"])
    original = matrix(weights, flexible, shape=np.array([-1, 4]))
    report = compare(original, matrix(weights, flexible, shape=np.array([1, 4])), rows(8, 6))
    assert (report.verdict, report.compared_elements) == (Verdict.NOT_EQUIVALENT, 0)
    assert "fails where the original runs: samples 1 to 2: ONNX Runtime on cpu: " in report.findings[0].words


def test_inputs_that_the_original_does_not_take(compare: Comparison) -> None:
    """Where the original fails as well, the inputs are at fault: bad input, not a verdict."""
    node = helper.make_node("Reshape", ["z", "shape"], ["y"])
    proto = matrix(np.ones((6, 4), np.float32), node, shape=np.array([1, 4]))
    with pytest.raises(InputError, match=r"cannot evaluate it|ONNX Runtime on cpu"):
        compare(proto, proto, rows(8, 6))


def test_graphs_that_are_not_comparable_are_refused(compare: Comparison) -> None:
    """Other names of inputs or outputs are bad input, named."""
    layers = random_layers()
    with pytest.raises(InputError, match=r"output logits float\[N, 10\] became logits float\[N, 6\]"):
        compare(network(layers), network(layers[:2], right))


@pytest.mark.parametrize("provider", [Provider.CUDA, Provider.TENSORRT])
def test_an_absent_device_is_never_a_pass(compare: Comparison, provider: Provider) -> None:
    """Without the device: exit code 3 and what is missing, before anything is evaluated."""
    if not what_is_missing(onnxruntime_module(), provider):
        pytest.skip(f"{provider} loads on this machine")
    layers = random_layers()
    with pytest.raises(AttestationError, match=f"--provider {provider}: nothing ran there") as caught:
        compare(network(layers), network(layers, right), provider=provider)
    assert caught.value.exit_code == 3


def test_the_report_as_json(compare: Comparison, tmp_path: Path) -> None:
    """One object with its schema, the criterion's numbers, hashes of both files, versions and the placement."""
    layers = random_layers()
    report = compare(network(layers), network(layers, right))
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["schema"] == "bnfold.verification/1"
    assert (document["verdict"], document["exit_code"], document["provider"]) == ("equivalent", 0, "cpu")
    assert (document["criterion"]["k"], document["compared_elements"]) == (8.0, 80)
    assert document["files"]["original"]["sha256"] == sha256(tmp_path / "a.onnx")
    assert document["files"]["candidate"]["sha256"] == sha256(tmp_path / "b.onnx")
    assert document["placement"]["executed"].keys() == {"CPUExecutionProvider"}
    assert {"onnx", "numpy", "python", "platform"} <= document["environment"].keys()
    assert any(name.startswith("onnxruntime") for name in document["environment"])
    (output,) = document["outputs"]
    assert [rung["name"] for rung in output["ladder"]] == ["algebra", "storage", "runtime"]
    for rung in output["ladder"]:
        for norm in ("rms", "largest"):
            assert rung["limit"][norm] == pytest.approx(8 * rung["baseline"][norm] + rung["floor"][norm])
    assert document["findings"] == []


def test_progress_is_told_of_every_evaluation(compare: Comparison) -> None:
    """Each evaluation says what it is and how many batches it has."""
    told: list[tuple[str, int]] = []

    def progress(
        items: Iterable[T], *, description: str, total: int | None = None, samples: object = None
    ) -> Iterator[T]:
        whole = list(items)
        told.append((description, len(whole)))
        yield from whole

    layers = random_layers()
    compare(network(layers), network(layers, right), progress=progress)
    assert told == [
        ("candidate on cpu", 5),  # the three, the largest again, and that in reverse
        ("float64, original", 3),
        ("baseline", 3),
        ("exact fold", 2),  # by both objectives, of which the first will do
        ("float64, exact fold", 2),  # of the first three samples
        ("float64, candidate", 3),
        ("float64, weights rounded anew", 4),
        ("wrong candidates", 8),
    ]
