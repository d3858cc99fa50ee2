"""Tests of ``bnfold.export.opset`` and its parts: another operator set, the same values, or a refusal that says why."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from bnfold.errors import InputError
from bnfold.export import optimize
from bnfold.export.opset import NEWEST, convert_opset
from bnfold.verify.oracle import Oracle
from bnfold.verify.runtime import open_session

ROUNDING = 1e-13
"""Relative, in float64: an operator against others that say the same, a dozen roundings of 2⁻⁵³."""

SINGLE = 8 * 2**-24
"""Relative: the constants of a definition, such as √2, are stored in the graph's own type, which is float32 here."""

OLDEST = 13


def parse(body: str, *, opset: int, x: str = "float[N, 3, 4]", y: str = "float[A, B, C]") -> ir.Model:
    """Return a model of one input and one output with the given nodes."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({x} x) => ({y} y) {{ {body} }}'
    return ir.from_proto(parser.parse_model(text))


def evaluate(model: ir.Model, **inputs: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
    """Return the outputs in float64, of random values between -3 and 3."""
    x = np.random.default_rng(0).uniform(-3, 3, size=(5, 3, 4)).astype(np.float32)
    return Oracle(model).run({"x": x} | inputs)


SCALES = "s = Constant<value: tensor = float[3] {1, 1.5, 2.5}>()"
AXES = "a = Constant<value_ints: ints = [1, -1]>()"
"""What opset 18 made an input of reductions."""


ZERO = "z = Constant<value: tensor = int64[1] {0}>()"


@pytest.mark.parametrize("target", [13, 15, 17, 19])
@pytest.mark.parametrize(
    ("body", "opset"),
    [
        *(
            (f"{AXES} y = Reduce{name}<keepdims: int = 1>(x, a)", 20)
            for name in ("Mean", "Max", "Min", "Prod", "L1", "L2")
        ),
        *((f"{AXES} p = Exp(x) y = Reduce{name}<keepdims: int = 1>(p, a)", 20) for name in ("LogSum", "SumSquare")),
        ("y = ReduceMean<keepdims: int = 1, noop_with_empty_axes: int = 0>(x)", 20),
        ("y = Gelu(x)", 20),
        ('y = Gelu<approximate: string = "tanh">(x)', 20),
        ("y = HardSwish(x)", 22),
        ("y = Mish(x)", 22),
        ("p, y = Split<num_outputs: int = 2, axis: int = 2>(x)", 20),
        ("p, y = Split<num_outputs: int = 2, axis: int = 1>(x)", 20),
        (f"{ZERO} s = Shape<start: int = 1>(x) t = Concat<axis: int = 0>(z, s) y = Reshape(x, t)", 20),
        ("y = AveragePool<kernel_shape: ints = [2], dilations: ints = [1]>(x)", 20),
        ("t = Constant<value: tensor = int64[3] {0, 4, 3}>() y = Reshape<allowzero: int = 0>(x, t)", 20),
        ("y = LeakyRelu<alpha: float = 0.125>(x)", 22),
        ("y = Softmax<axis: int = 1>(x)", 20),
    ],
)
def test_downwards_the_values_stay(body: str, opset: int, target: int) -> None:
    """What became an input, an attribute or an operator after opset 13 is said as before."""
    model = parse(body, opset=opset)
    expected = evaluate(model)["y"]
    optimize(model, opset=target)
    assert model.opset_imports[""] == target
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    bound = SINGLE if "Gelu" in body else ROUNDING
    np.testing.assert_allclose(evaluate(model)["y"], expected, rtol=0, atol=bound * np.abs(expected).max())


@pytest.mark.parametrize("target", [13, 18, 21, 25, NEWEST])
@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("y = Softmax<axis: int = 1>(x)", 11),
        ("y = Softmax(x)", 12),
        ("y = Unsqueeze<axes: ints = [0]>(x)", 9),
        ("y = ReduceSum<axes: ints = [1]>(x)", 11),
        ("y = Clip<min: float = -0.5, max: float = 1.5>(x)", 9),
        ("y = Slice<axes: ints = [2], starts: ints = [1], ends: ints = [3]>(x)", 9),
        ("y = Pad<pads: ints = [0, 1, 0, 0, 0, 2]>(x)", 9),
        ("y = Dropout<ratio: float = 0.5>(x)", 10),
    ],
)
def test_upwards_the_values_stay(body: str, opset: int, target: int) -> None:
    """What was an attribute and became an input, or changed its meaning, is said anew."""
    model = parse(body, opset=opset, y="float[A, B, C, D]" if "Unsqueeze" in body else "float[A, B, C]")
    expected = evaluate(model)["y"]
    optimize(model, opset=target)
    assert model.opset_imports[""] == target
    assert model.ir_version >= onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", target)])
    np.testing.assert_allclose(evaluate(model)["y"], expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


def constant(name: str, *numbers: int) -> str:
    """Return a Constant of int64 numbers."""
    return f"{name} = Constant<value: tensor = int64[{len(numbers)}] {{{', '.join(map(str, numbers))}}}>()"


@pytest.mark.parametrize(
    ("body", "target", "reason"),
    [
        ("y = LayerNormalization(x, x)", 16, "LayerNormalization .* newer"),
        ("s = Shape(x) t = ReduceMean(x, s) y = Add(x, t)", 17, "ReduceMean .*its input s is computed at run time"),
        ("y = ReduceMax<noop_with_empty_axes: int = 1>(x)", 17, "ReduceMax .*it reduces over no axis"),
        ("p, y = Split<num_outputs: int = 2>(x)", 17, "Split .*the extent that it splits is not known"),
        ("y = AveragePool<kernel_shape: ints = [2], dilations: ints = [2]>(x)", 18, "AveragePool .*dilations is newer"),
        (f"{constant('p', 1, 1)} {constant('a', 2)} y = Pad(x, p, , a)", 17, "Pad .*it has 4 inputs"),
        (f'{constant("p", 0, 0, 1, 0, 0, 1)} y = Pad<mode: string = "wrap">(x, p)', 18, "Pad .*mode=wrap is newer"),
        ("y = Trilu(x)", 13, "Trilu .*the operator is newer; choose another opset, or keep 19"),
    ],
)
def test_what_an_older_opset_cannot_say_is_refused(body: str, target: int, reason: str) -> None:
    """With the node and the reason, before anything wrong is written."""
    model = parse(body, opset=19)
    with pytest.raises(InputError, match=f"^opset {target}: {reason}") as caught:
        optimize(model, opset=target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", [-1, 7, 12, NEWEST + 1])
def test_opsets_out_of_range_are_refused(target: int) -> None:
    """From 13 to the newest that the onnx package knows."""
    with pytest.raises(InputError, match=f"opset {target}: expected {OLDEST} to {NEWEST}"):
        convert_opset(parse("y = Relu(x)", opset=17), target)


def test_a_graph_without_the_standards_operators_has_no_opset() -> None:
    """There is nothing to convert."""
    text = '<ir_version: 8, opset_import: ["custom": 1]> g (float[N] x) => (float[N] y) { y = custom.Thing(x) }'
    with pytest.raises(InputError, match="no operator of the standard"):
        convert_opset(ir.from_proto(parser.parse_model(text)), 17)


def test_an_operator_that_onnx_cannot_convert_is_refused() -> None:
    """Its converter fails silently; the opset tells. Normalization by pixel has gone from the standard."""
    model = parse("y = BatchNormalization<spatial: int = 0>(x, x, x, x, x)", opset=7)
    with pytest.raises(InputError, match=r"opset 17: onnx has no rule for one of the graph's operators; .* keep 7"):
        optimize(model, opset=17)


@pytest.mark.parametrize("target", [13, 21])
@pytest.mark.parametrize(
    ("body", "opset"),
    [
        (f'{SCALES} y = Upsample<mode: string = "linear">(x, s)', 9),
        (f"{SCALES} y = Upsample(x, s)", 9),
        ('y = Upsample<mode: string = "linear", scales: floats = [1.0, 1.5, 2.5]>(x)', 7),
        (f'{SCALES} y = Resize<mode: string = "linear">(x, s)', 10),
        (f"{SCALES} y = Resize(x, s)", 10),
    ],
)
def test_old_resizes_keep_their_coordinates(body: str, opset: int, target: int) -> None:
    """Opset 11 changed the default; onnx's converter lets it change the values, on ONNX Runtime as in the standard."""
    model = parse(body, opset=opset, x="float[2, 3, 4]")
    x = {"x": np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)}
    with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
        expected = session.run(x)["y"]
    optimize(model, opset=target)
    with open_session(ir.to_proto(model).SerializeToString(), optimized=False) as session:
        np.testing.assert_array_equal(session.run(x)["y"], expected)


def test_a_hardmax_over_several_axes_is_refused() -> None:
    """Opset 13 made it one axis; onnx's converter leaves the node as it is."""
    with pytest.raises(InputError, match=r"opset 21: Hardmax .*opset 13 changed its meaning"):
        optimize(parse("y = Hardmax(x)", opset=11), opset=21)
    model = parse("y = Hardmax<axis: int = -1>(x)", opset=11)
    expected = evaluate(model)["y"]
    optimize(model, opset=21)
    np.testing.assert_array_equal(evaluate(model)["y"], expected)


BRANCHES = """c = ReduceMax<keepdims: int = 0>(x) b = Cast<to: int = 9>(c)
    y = If(b) <then_branch = t () => (float[A, B, C] p) { p = Softmax(x) },
               else_branch = e () => (float[A, B, C] q) { q = Relu(x) }>"""


def test_a_body_that_onnx_would_leave_in_the_old_opset_is_refused() -> None:
    """Softmax without axis means something else since opset 13, and onnx's converter does not look into branches."""
    with pytest.raises(InputError, match=r"opset 17: Softmax .*in a body of If, Loop or Scan"):
        optimize(parse(BRANCHES, opset=12), opset=17)


def test_bodies_are_converted_where_onnxscript_does_it_and_downwards() -> None:
    """Upwards from 18, and downwards, also inside a branch."""
    model = parse(BRANCHES.replace("Softmax", "HardSwish"), opset=20)
    expected = evaluate(model)["y"]
    for target in (23, 13):
        optimize(model, opset=target)
        np.testing.assert_allclose(evaluate(model)["y"], expected, rtol=0, atol=ROUNDING * np.abs(expected).max())
