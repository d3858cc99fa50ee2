"""Tests of ``bnfold.export.precision``: one rounding, and float32 wherever a narrower type would lose too much."""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.export import Precision, PrecisionReport, convert_precision, in_double, optimize
from bnfold.folding import fold
from bnfold.graph.rounding import rounded
from bnfold.graph.shapes import dims_of
from bnfold.verify.oracle import Oracle
from bnfold.verify.rounding import UNIT_ROUNDOFF
from tests.export.test_captured import zoo
from tests.folding.builder import Builder

ROUNDINGS = 2**6
"""An output of these networks moves by the roundings of some hundred operands, in quadrature; the rest is room."""


def samples(model: ir.Model) -> dict[str, npt.NDArray[Any]]:
    """Draw three standard-normal samples."""
    generator = np.random.default_rng(0)
    shapes = {str(value.name): dims_of(value.shape)[1:] for value in ports(model) if value.shape is not None}
    extents = {name: [3, *(dim for dim in dims if isinstance(dim, int))] for name, dims in shapes.items()}
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in extents.items()}


def ports(model: ir.Model) -> list[ir.Value]:
    """Return the inputs that are no initializers."""
    return [value for value in model.graph.inputs if not value.is_initializer()]


def converted(
    model: ir.Model, precision: Precision, inputs: Mapping[str, npt.NDArray[Any]] | None = None
) -> tuple[ir.Model, PrecisionReport]:
    """Convert without folding first; check that the result is valid and that inputs and outputs are as they were."""
    types = {str(v.name): v.dtype for v in (*model.graph.inputs, *model.graph.outputs) if v.dtype}
    twin = in_double(model)
    report = convert_precision(twin, precision, ports=types, inputs=samples(model) if inputs is None else inputs)
    onnx.checker.check_model(ir.to_proto(twin), full_check=True)
    for before, after in ((model.graph.inputs, twin.graph.inputs), (model.graph.outputs, twin.graph.outputs)):
        assert [(v.name, v.dtype, v.shape) for v in before] == [(v.name, v.dtype, v.shape) for v in after]
    assert sum(node.op_type == "Cast" for node in twin.graph) == report.casts
    return twin, report


def types(model: ir.Model) -> dict[str, str]:
    """Return the type that each operator gives, by operator."""
    return {node.op_type: str(node.outputs[0].dtype) for node in model.graph if node.op_type != "Cast"}


def reasons(report: PrecisionReport) -> dict[str, str | None]:
    """Return why operators are wide, by operator."""
    return {layer.operator: layer.reason for layer in report.layers}


def chain(builder: Builder, *, scale: float = 1.0, weight: float = 1.0) -> ir.Model:
    """Return Conv, Relu, Conv; the input is scaled first in the weights."""
    x = builder.input("N", 3, 5, 4)
    first = builder("Conv", x, builder.stored(scale * builder.generator.normal(size=(4, 3, 1, 1))))
    second = builder.stored(weight * builder.generator.normal(size=(2, 4, 1, 1)))
    return builder.model(builder("Conv", builder("Relu", first), second))


@pytest.mark.parametrize("precision", list(Precision))
def test_a_whole_network_in_every_precision(precision: Precision) -> None:
    """Convolutions, resizing, gates, pooling and a softmax; the weights are narrow, the error is that of roundings."""
    oracle, content = zoo()
    model = ir.from_proto(onnx.load_from_string(content))
    optimize(model, opset=22)
    inputs = {"x": np.random.default_rng(0).normal(size=(3, 3, 6, 8)).astype(np.float32)}
    narrow, report = converted(model, precision, inputs)
    tolerance = ROUNDINGS * UNIT_ROUNDOFF[precision.dtype]
    expected = oracle.run(inputs)["output"]
    np.testing.assert_allclose(Oracle(narrow).run(inputs)["output"], expected, rtol=0, atol=tolerance * expected.max())
    weights = {v.dtype for v in narrow.graph.initializers.values() if v.shape is not None and len(v.shape) == 4}
    assert weights == {precision.dtype}
    assert {layer.dtype for layer in report.layers} >= {precision.dtype.name.lower()}
    assert {layer.operator for layer in report.kept} >= (
        {"Softmax", "Resize"} if precision is Precision.MIXED else set()
    )


def test_weights_are_rounded_once() -> None:
    """A folded weight is the float64 one rounded to float16, also where a stop at float32 would give its neighbour."""
    b = Builder(dtype=np.float32)
    x = b.input("N", 64, 3, 3)
    model = b.model(b.batch_norm(b.conv(x, 64, 128, 3, 3, pads=[1] * 4), 128))
    exact = in_double(model)
    fold(exact)
    wanted = stored(exact)
    narrow = exact.clone()
    convert_precision(narrow, Precision.FLOAT16, ports={"x": ir.DataType.FLOAT}, inputs=samples(model))
    np.testing.assert_array_equal(stored(narrow), rounded(wanted, ir.DataType.FLOAT16))
    assert (stored(narrow) != wanted.astype(np.float32).astype(np.float16)).any(), "the test shows nothing"


def stored(model: ir.Model) -> npt.NDArray[Any]:
    """Return the weight of the first Conv."""
    conv = next(node for node in model.graph if node.op_type == "Conv")
    weight = conv.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    return weight.const_value.numpy()


@pytest.mark.parametrize("precision", [Precision.FLOAT16, Precision.MIXED])
def test_what_exceeds_the_range_stays_in_float32(precision: Precision) -> None:
    """Both convolutions and the Relu between them touch values beyond half of 65504; bfloat16 holds them."""
    model = chain(Builder(dtype=np.float32, opset=22, ir_version=10), scale=1e5, weight=1e-5)
    narrow, report = converted(model, precision)
    assert types(narrow) == {"Conv": "FLOAT", "Relu": "FLOAT"}
    assert report.casts == 0
    assert "comes near float16's largest" in str(reasons(report)["Relu"])
    wide, report = converted(model, Precision.BFLOAT16)
    assert types(wide) == {"Conv": "BFLOAT16", "Relu": "BFLOAT16"}
    assert not report.kept


def test_faint_weights_stay_in_float32() -> None:
    """Weights of 1e-6 would lose most of their digits; the Conv in front is narrow, and a Cast lies between."""
    narrow, report = converted(chain(Builder(dtype=np.float32), weight=1e-6), Precision.FLOAT16)
    convs = [node for node in narrow.graph if node.op_type == "Conv"]
    assert [str(conv.outputs[0].dtype) for conv in convs] == ["FLOAT16", "FLOAT"]
    assert [layer.name for layer in report.kept] == [convs[1].name]
    assert "below float16's normal range" in str(report.kept[0].reason)
    assert report.casts == 2


def test_a_difference_of_near_equals_stays_in_float32() -> None:
    """x − y with y near x loses to the rounding of both what their difference has."""
    b = Builder(dtype=np.float32)
    x, y = b.input("N", 7), b.input("N", 7, name="y")
    model = b.model(b("Relu", b("Sub", x, y)))
    near = 100 + np.random.default_rng(0).normal(size=(2, 4, 7)).astype(np.float32)
    narrow, report = converted(model, Precision.FLOAT16, {"x": near[0], "y": near[1]})
    assert types(narrow) == {"Sub": "FLOAT", "Relu": "FLOAT"}
    assert [layer.operator for layer in report.kept] == ["Sub"]
    assert "amplifies the rounding of what it reads" in str(reasons(report)["Sub"])
    assert reasons(report)["Relu"] == "it reads sub_1_out, which is float32"
    assert not converted(model, Precision.FLOAT16, {"x": near[0], "y": -near[1]})[1].kept


def test_what_the_standard_lacks_stays_in_float32() -> None:
    """Before opset 22 there is no Conv in bfloat16."""
    narrow, report = converted(chain(Builder(dtype=np.float32, opset=17)), Precision.BFLOAT16)
    assert types(narrow) == {"Conv": "FLOAT", "Relu": "FLOAT"}
    assert reasons(report)["Conv"] == "opset 17 has no Conv in bfloat16"


def test_operands_of_a_fixed_type_keep_it() -> None:
    """The scales of a Resize are float32 whatever it resizes."""
    b = Builder(dtype=np.float32)
    x = b.input("N", 3, 4, 5)
    model = b.model(b("Resize", b("Relu", x), None, b.stored([1.0, 1.0, 2.0, 2.0]), mode="linear"))
    narrow, _ = converted(model, Precision.FLOAT16)
    assert types(narrow) == {"Relu": "FLOAT16", "Resize": "FLOAT16"}
    assert [str(value.dtype) for value in narrow.graph.initializers.values()] == ["FLOAT"]


def test_a_weight_of_two_readers_is_stored_in_both_types() -> None:
    """The one whose result grows too large reads it in float32, the other in float16."""
    b = Builder(dtype=np.float32)
    x, weight = b.input("N", 3, 4, 4), b.normal(3, 3, 1, 1)
    large = b("Conv", b("Mul", x, b.stored(1e5)), weight)
    model = b.model(b("Conv", x, weight), large)
    narrow, _ = converted(model, Precision.FLOAT16)
    assert {(n, str(v.dtype)) for n, v in narrow.graph.initializers.items() if v.shape and len(v.shape) == 4} == {
        (f"{weight}_float16", "FLOAT16"),
        (f"{weight}_float", "FLOAT"),
    }


def test_an_output_that_others_read_keeps_name_and_type() -> None:
    """What is read inside is narrow, what a caller gets is not."""
    b = Builder(dtype=np.float32)
    x = b.input("N", 3)
    inner = b("Relu", x)
    narrow, _ = converted(b.model(inner, b("Neg", inner)), Precision.FLOAT16)
    assert types(narrow) == {"Relu": "FLOAT16", "Neg": "FLOAT16"}


def test_a_double_network_becomes_single() -> None:
    """Weights and operators are float32; inputs and outputs stay double, with a Cast at the border."""
    model = chain(Builder())
    inputs = {"x": np.random.default_rng(0).normal(size=(3, 3, 5, 4))}
    single, report = converted(model, Precision.FLOAT32, inputs)
    assert types(single) == {"Conv": "FLOAT", "Relu": "FLOAT"}
    assert report.casts == 2
    assert not report.kept


def test_a_half_network_becomes_single() -> None:
    """What was stored narrow is widened exactly."""
    model = chain(Builder(dtype=np.float16))
    single, _ = converted(model, Precision.FLOAT32)
    before = stored(model)
    assert stored(single).dtype == np.float32
    np.testing.assert_array_equal(stored(single), before.astype(np.float32))
    assert before.dtype != ml_dtypes.bfloat16


def test_bodies_are_refused() -> None:
    """The types in the branches of an If are not converted, and the message names a node there."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[2] x, bool c) => (float[2] y) {
            y = If(c) <then_branch = t () => (float[2] p) { p = Relu(x) },
                       else_branch = e () => (float[2] q) { q = Neg(x) }> }"""
    with pytest.raises(InputError, match=r"node Relu is in a body of If, Loop or Scan\.$"):
        in_double(ir.from_proto(onnx.parser.parse_model(text)))


def test_operators_of_another_domain_are_refused() -> None:
    """No schema tells the types that they may have: of ONNX Runtime's own operators, say."""
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[2, 3] x, float[3, 4] w) => (float[2, 4] y) { [first] y = com.microsoft.FusedGemm(x, w) }"""
    with pytest.raises(InputError, match=r"node first \(FusedGemm of com.microsoft\) is none of the standard's\.$"):
        in_double(ir.from_proto(onnx.parser.parse_model(text)))
