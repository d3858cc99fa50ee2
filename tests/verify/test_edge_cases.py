"""Edge cases: what they hold, and that a candidate which is right on ordinary inputs alone does not pass."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from bnfold.verify import Verdict, verify
from bnfold.verify.edge_cases import EdgeCases, edge_cases
from bnfold.verify.edge_judgement import edge_output
from bnfold.verify.judgement import Precisions
from bnfold.verify.samples import Range
from bnfold.verify.tolerance import Size
from tests.verify.graphs import images, model, network, random_layers, right, saved


def cases(proto: onnx.ModelProto, **ranges: Range) -> tuple[EdgeCases, dict[str, np.ndarray]]:
    """Return the cases of a graph with one input, and its values by case."""
    found = edge_cases(ir.from_proto(proto), ranges, 0)
    (stacked,) = found.inputs.values()
    return found, dict(zip(found.names, stacked, strict=True))


def test_the_four_cases() -> None:
    """Zeros; a thousand deviations; half the smallest normal number; a frame of ones."""
    found, values = cases(network(random_layers()))
    assert found.names == ("zeros", "large", "denormal", "border")
    assert found.inputs["images"].dtype == np.float32
    assert not values["zeros"].any()
    assert values["large"].std() == pytest.approx(1024, rel=0.2)
    assert np.unique(np.abs(values["denormal"])).tolist() == [np.finfo(np.float32).smallest_normal / 2]
    assert values["border"][:, 0].all()
    assert not values["border"][:, 1:-1, 1:-1].any()


def test_they_stay_within_a_range() -> None:
    """Of bytes as floats, large values are the two ends, and the border is white."""
    _, values = cases(network(random_layers()), images=Range(0, 255))
    assert set(np.unique(values["large"])) == {0, 255}
    assert values["border"].max() == 255
    assert min(array.min() for array in values.values()) >= 0


def test_what_has_no_border_has_no_such_case() -> None:
    """Rows of numbers have no spatial axes; tokens have no values to be large or denormal."""
    rows = model([helper.make_node("Abs", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]})
    assert cases(rows)[0].names == ("zeros", "large", "denormal")
    tokens = model([helper.make_node("Abs", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]}, dtype=TensorProto.INT64)
    assert edge_cases(ir.from_proto(tokens), {}, 0).names == ()


def test_a_right_fold_passes_them(tmp_path: Path) -> None:
    """Each case is judged by itself, and its figure is in the report."""
    layers = random_layers()
    original = network(layers)
    files = saved(original, tmp_path / "a.onnx"), saved(network(layers, right), tmp_path / "b.onnx")
    report = verify(*files, images(8), edges=edge_cases(ir.from_proto(original), {}, 0))
    assert (report.verdict, report.findings) == (Verdict.EQUIVALENT, ())
    assert [case.name for case in report.edge_cases] == ["zeros", "large", "denormal", "border"]
    assert all(case.passed and case.finite and case.error_over_limit is not None for case in report.edge_cases)
    assert report.to_dict()["edge_cases"][0]["words"] == "all zeros"


@pytest.mark.parametrize("batch", [1, 4])
def test_fixed_batches_are_filled(tmp_path: Path, batch: int) -> None:
    """A graph that takes four samples gets each case four times; one that takes one, once."""
    layers = random_layers()
    original = network(layers, batch=batch)
    edges = edge_cases(ir.from_proto(original), {}, 0)
    assert edges.inputs["images"].shape[0] == 4 * batch
    files = saved(original, tmp_path / "a.onnx"), saved(network(layers, right, batch=batch), tmp_path / "b.onnx")
    report = verify(*files, images(8), edges=edges)
    assert (report.verdict, len(report.edge_cases)) == (Verdict.EQUIVALENT, 4)


def test_a_candidate_that_fails_on_a_case_does_not_pass(tmp_path: Path) -> None:
    """It indexes a table by its input, which ordinary values do not leave and large ones do."""

    def table(bound: bool) -> onnx.ModelProto:
        nodes = [helper.make_node("Clip", ["x", "low", "high"], ["c"])] if bound else []
        nodes += [
            helper.make_node("Cast", ["c" if bound else "x"], ["i"], to=TensorProto.INT64),
            helper.make_node("Gather", ["rows", "i"], ["y"], axis=0),
        ]
        tensors = {"rows": np.arange(41, dtype=np.float32), "low": np.float32(-20), "high": np.float32(20)}
        tensors = {name: np.asarray(array) for name, array in tensors.items()}
        return model(nodes, {"x": ["N", 3]}, {"y": ["N", 3]}, tensors)

    files = saved(table(True), tmp_path / "a.onnx"), saved(table(False), tmp_path / "b.onnx")
    inputs = {"x": np.random.default_rng(1).uniform(-19, 19, size=(8, 3)).astype(np.float32)}
    assert verify(*files, inputs).verdict is Verdict.EQUIVALENT
    report = verify(*files, inputs, edges=edge_cases(ir.from_proto(table(True)), {}, 0))
    assert report.verdict is Verdict.NOT_EQUIVALENT
    assert (
        "edge case large (the candidate fails where the original runs: ONNX Runtime on cpu" in report.findings[0].words
    )


def clipped(factor: float) -> onnx.ModelProto:
    """Return y = x·w with x cut at ±100·factor: what no ordinary input reaches."""
    nodes = [helper.make_node("Clip", ["x", "low", "high"], ["c"]), helper.make_node("MatMul", ["c", "w"], ["y"])]
    weights = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    low, high = (np.array(sign * 100 * factor, np.float32) for sign in (-1, 1))
    return model(nodes, {"x": ["N", 3]}, {"y": ["N", 5]}, {"w": weights, "low": low, "high": high})


def test_a_fault_that_ordinary_inputs_do_not_reach_is_caught(tmp_path: Path) -> None:
    """Another bound of a Clip: equivalent on normal values, not on large ones, and the case is named."""
    files = saved(clipped(1), tmp_path / "a.onnx"), saved(clipped(1.01), tmp_path / "b.onnx")
    inputs = {"x": np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)}
    assert verify(*files, inputs).verdict is Verdict.EQUIVALENT
    report = verify(*files, inputs, edges=edge_cases(ir.from_proto(clipped(1)), {}, 0))
    assert (report.verdict, [finding.about for finding in report.findings]) == (Verdict.NOT_EQUIVALENT, ["edge-case"])
    assert "edge case large (values a thousand standard deviations large" in report.findings[0].words


def test_where_the_original_overflows_nothing_is_held_to_it(tmp_path: Path) -> None:
    """exp of a thousand is infinite on both sides: the case says so, and the verdict rests on the others."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["z"]), helper.make_node("Exp", ["z"], ["y"])]
    proto = model(nodes, {"x": ["N", 3]}, {"y": ["N", 3]})
    path = saved(proto, tmp_path / "a.onnx")
    inputs = {"x": np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)}
    report = verify(path, path, inputs, edges=edge_cases(ir.from_proto(proto), {}, 0))
    large = next(case for case in report.edge_cases if case.name == "large")
    assert (large.finite, large.error_over_limit, large.passed) == (False, None, True)
    assert report.verdict is Verdict.EQUIVALENT


def test_one_case_is_held_to_the_original_on_that_input() -> None:
    """NaN and another shape exceed every limit; a zero output may be off by the roundings of its usual size."""
    precisions, usual = Precisions(ir.DataType.FLOAT, ir.DataType.FLOAT), Size(1.0, 1.0)
    zero = np.zeros((1, 4))

    def excess(run: np.ndarray, own: np.ndarray = zero) -> float | None:
        output = edge_output("y", run, zero, own, usual, precisions)
        return None if output is None else output.excess

    assert excess(zero) == 0
    assert excess(zero + 8 * 2.0**-24) == 1.0
    assert excess(zero * np.nan) == np.inf
    assert excess(zero[:, :3]) == np.inf
    assert excess(zero, zero + np.inf) is None
