"""Which values are known before a graph runs, and what they are."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from bnfold.graph.constants import FOLDABLE, REPARAMETERIZING, Constants
from tests.folding.builder import Builder, Tensor


def content(b: Builder, name: str, output: str | None = None) -> Tensor | None:
    """Return what `Constants` knows of a value; the graph's output is ``output``, or the value itself."""
    model = b.model(output or name)
    return Constants(model).get(ir.convenience.create_value_mapping(model.graph)[name])


def known(b: Builder, name: str, output: str | None = None) -> Tensor:
    """Return the content of a value that must be known."""
    array = content(b, name, output)
    assert array is not None
    return array


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64], ids=str)
def test_an_initializer(dtype: type[np.generic]) -> None:
    """An initializer is its content, in its own type."""
    b = Builder(dtype=dtype)
    stored = b.stored([1, 2, 3], name="w")
    array = known(b, stored, b("Add", b.input(3), stored))
    assert array.dtype == dtype
    assert array.tolist() == [1, 2, 3]


def test_a_computed_value() -> None:
    """What depends on an input is not known."""
    b = Builder()
    assert content(b, b("Identity", b.input(3))) is None


def test_an_absent_input() -> None:
    """An optional input that is absent is not known, and no error."""
    b = Builder()
    assert Constants(b.model(b("Relu", b.input(3)))).get(None) is None


@pytest.mark.parametrize("ir_version", [4, 8])
def test_a_default_that_callers_override(ir_version: int) -> None:
    """An initializer that is a graph input too is a default from IR 4 on."""
    b = Builder(ir_version=ir_version)
    weight = b.stored([1.0, 2.0], name="w")
    b.input(2, name="w")
    assert content(b, weight, b("Relu", weight)) is None


def test_a_value_computed_from_a_default() -> None:
    """Nor is anything known that is computed from it."""
    b = Builder()
    weight = b.stored([1.0, 2.0], name="w")
    b.input(2, name="w")
    assert content(b, b("Add", weight, b.stored(1.0))) is None


def test_inputs_that_only_declare() -> None:
    """In files of IR 3 every initializer is an input as well: it is constant all the same."""
    b = Builder(ir_version=3, opset=7)
    weight = b.stored([1.0, 2.0], name="w")
    assert known(b, weight, b("Add", b.input(2), weight)).tolist() == [1.0, 2.0]


def test_a_constant_node() -> None:
    """Constant in each of its forms, typed as the form says."""
    b = Builder()
    forms: dict[str, Any] = {
        "value": numpy_helper.from_array(np.array([1.5, 2.5])),
        "value_float": 1.5,
        "value_floats": [1.5, 2.5],
        "value_int": 3,
        "value_ints": [3, 4],
    }
    types = {"value": np.float64, "value_float": np.float32, "value_floats": np.float32}
    for form, value in forms.items():
        array = known(b, b("Constant", **{form: value}), b("Relu", b.input(1)))
        b.inputs.clear()
        assert array.dtype == types.get(form, np.int64)
        assert array.tolist() == (pytest.approx([1.5, 2.5]) if form == "value" else value)


@pytest.mark.parametrize("opset", [9, 13, 20])
def test_constant_of_shape(opset: int) -> None:
    """ConstantOfShape with a value, and with its default, a float32 0."""
    b = Builder(dtype=np.float32, opset=opset)
    value = helper.make_tensor("value", helper.np_dtype_to_tensor_dtype(np.dtype(np.float32)), [1], [0.25])
    attribute_sets: list[dict[str, Any]] = [{"value": value}, {}]
    filled, empty = (b("ConstantOfShape", b.integers(2, 3), **attributes) for attributes in attribute_sets)
    model = b.model(b("Add", b("Add", b.input(2, 3), filled), empty))
    constants, values = Constants(model), ir.convenience.create_value_mapping(model.graph)
    assert np.array_equal(constants.get(values[filled]), np.full((2, 3), 0.25, np.float32))  # pyright: ignore[reportArgumentType]  (None is not equal)
    assert np.array_equal(constants.get(values[empty]), np.zeros((2, 3), np.float32))  # pyright: ignore[reportArgumentType]  (None is not equal)


CHAINS = {
    "Add": (lambda b: b("Add", b.stored([1.0, 2.0]), b.stored(0.5)), [1.5, 2.5]),
    "Sub": (lambda b: b("Sub", b.stored([1.0, 2.0]), b.stored(0.5)), [0.5, 1.5]),
    "Mul": (lambda b: b("Mul", b.stored([1.0, 2.0]), b.stored(0.5)), [0.5, 1.0]),
    "Div": (lambda b: b("Div", b.stored([1.0, 2.0]), b.stored(0.5)), [2.0, 4.0]),
    "Sqrt": (lambda b: b("Sqrt", b.stored([4.0, 9.0])), [2.0, 3.0]),
    "Range": (lambda b: b("Range", *map(b.stored, (1.0, 3.0, 1.0))), [1.0, 2.0]),
    "Reciprocal": (lambda b: b("Reciprocal", b.stored([4.0, 0.5])), [0.25, 2.0]),
    "Cast": (lambda b: b("Cast", b.integers(1, 2), to=11), [1.0, 2.0]),
    "Identity": (lambda b: b("Identity", b("Identity", b.stored([1.0, 2.0]))), [1.0, 2.0]),
    "Reshape": (lambda b: b("Reshape", b.stored([[1.0, 2.0]]), b.integers(-1)), [1.0, 2.0]),
    "Unsqueeze": (lambda b: b("Unsqueeze", b.stored([1.0, 2.0]), b.integers(1)), [[1.0], [2.0]]),
    "Squeeze": (lambda b: b("Squeeze", b.stored([[1.0], [2.0]]), b.integers(1)), [1.0, 2.0]),
    "Transpose": (lambda b: b("Transpose", b.stored([[1.0, 2.0]])), [[1.0], [2.0]]),
    "Expand": (lambda b: b("Expand", b.stored([1.0, 2.0]), b.integers(2, 2)), [[1.0, 2.0], [1.0, 2.0]]),
    "Concat": (lambda b: b("Concat", b.stored([1.0]), b.stored([2.0]), axis=0), [1.0, 2.0]),
    "Gather": (lambda b: b("Gather", b.stored([1.0, 2.0, 3.0]), b.integers(2, 0)), [3.0, 1.0]),
    "Shape": (lambda b: b("Cast", b("Shape", b.stored([[1.0, 2.0, 3.0]])), to=ir.DataType.DOUBLE.value), [1, 3]),
    "Size": (lambda b: b("Cast", b("Size", b.stored([[1.0, 2.0, 3.0]])), to=ir.DataType.DOUBLE.value), 3),
    "Slice": (lambda b: b("Slice", b.stored([1.0, 2.0, 3.0]), b.integers(1), b.integers(3)), [2.0, 3.0]),
}


@pytest.mark.parametrize("operator", CHAINS)
def test_operators_between_a_tensor_and_its_use(operator: str) -> None:
    """Each operator that exporters leave in front of a parameter is evaluated."""
    b = Builder()
    chain, expected = CHAINS[operator]
    name = chain(b)
    assert np.array_equal(known(b, name, b("Add", b.input(1), name)), np.array(expected))


def test_every_operator_is_tested() -> None:
    """The table and the test above name the same operators, those without inputs apart."""
    assert set(CHAINS) | {"Constant", "ConstantOfShape"} == FOLDABLE


def test_an_operator_that_is_not_in_the_table() -> None:
    """What is not foldable by table is not known, though it could be computed."""
    b = Builder()
    name = b("Sin", b.stored([1.0, 2.0]))
    assert content(b, name, b("Add", b.input(1), name)) is None


V = [[1.0, -2.0], [0.75, 3.5]]

COMPUTED: dict[str, tuple[Callable[[Builder, str], str], Callable[[Tensor], Tensor]]] = {
    "Abs": (lambda b, v: b("Abs", v), np.abs),
    "Einsum": (lambda b, v: b("Einsum", v, v, equation="ij,kj->ik"), lambda v: v @ v.T),
    "Exp": (lambda b, v: b("Exp", v), np.exp),
    "Flatten": (lambda b, v: b("Flatten", v, axis=0), lambda v: v.reshape(1, -1)),
    "Gemm": (lambda b, v: b("Gemm", v, v, transB=1), lambda v: v @ v.T),
    "MatMul": (lambda b, v: b("MatMul", v, v), lambda v: v @ v),
    "Max": (lambda b, v: b("Max", v, b("Neg", v)), np.abs),
    "Min": (lambda b, v: b("Min", v, b("Neg", v)), lambda v: -np.abs(v)),
    "Neg": (lambda b, v: b("Neg", v), np.negative),
    "Pow": (lambda b, v: b("Pow", v, b.stored(2.0)), np.square),
    "ReduceL2": (lambda b, v: b("ReduceL2", v, b.integers(1)), lambda v: np.sqrt((v * v).sum(1, keepdims=True))),
    "ReduceMean": (lambda b, v: b("ReduceMean", v, b.integers(1)), lambda v: v.mean(1, keepdims=True)),
    "ReduceSum": (lambda b, v: b("ReduceSum", v, b.integers(1)), lambda v: v.sum(1, keepdims=True)),
    "ReduceSumSquare": (lambda b, v: b("ReduceSumSquare", v, b.integers(1)), lambda v: (v * v).sum(1, keepdims=True)),
    "Sigmoid": (lambda b, v: b("Sigmoid", v), lambda v: 1 / (1 + np.exp(-v))),
    "Softplus": (lambda b, v: b("Softplus", v), lambda v: np.log1p(np.exp(v))),
    "Tanh": (lambda b, v: b("Tanh", v), np.tanh),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("operator", sorted(REPARAMETERIZING))
def test_what_computes_weights_is_computed_in_double(operator: str, dtype: type[np.floating[Any]]) -> None:
    """And rounded once: behind a square root and a division, too, the last bit is that of the exact result."""
    b = Builder(opset=20, dtype=dtype)
    chain, formula = COMPUTED[operator]
    computed = chain(b, b.stored(V))
    name = b("Div", b.stored(1.0), b("Sqrt", b("Abs", computed)))
    found = known(b, name, b("Add", b.input(1), name))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, (1.0 / np.sqrt(np.abs(formula(np.array(V))))).astype(dtype))


def test_integers_are_not_computed_in_double() -> None:
    """A weight computed from integers is left alone, rather than in another type."""
    b = Builder()
    name = b("Neg", b.integers(1, 2))
    assert content(b, name, b("Add", b.input(2), b("Cast", name, to=ir.DataType.DOUBLE.value))) is None


@pytest.mark.parametrize(("opset", "axes"), [(9, [1]), (13, None)])
def test_the_graphs_own_opset(opset: int, axes: list[int] | None) -> None:
    """Unsqueeze takes its axes from an attribute before opset 13, from an input after."""
    b = Builder(opset=opset)
    stored = b.stored([1.0, 2.0])
    name = b("Unsqueeze", stored, axes=axes) if axes else b("Unsqueeze", stored, b.integers(1))
    assert known(b, name, b("Add", b.input(2, 1), name)).tolist() == [[1.0], [2.0]]


def test_a_cast_of_bfloat16() -> None:
    """Weights stored as bfloat16 and cast to float32 are known, exactly."""
    b = Builder(dtype=np.float32)
    stored = b.stored([1.0, 1.00390625, -3.5], dtype=ml_dtypes.bfloat16)
    name = b("Cast", stored, to=1)
    assert known(b, name, b("Add", b.input(3), name)).tolist() == [1.0, 1.0, -3.5]


def test_an_operator_of_another_domain() -> None:
    """An operator that only shares its name with one of the table is not evaluated."""
    b = Builder()
    model = b.model(b("Relu", b.input(2)))
    weight = ir.Value(name="w", const_value=ir.tensor([1.0, 2.0], name="w"))
    model.graph.register_initializer(weight)
    node = ir.Node("com.example", "Identity", [weight])
    model.graph.append(node)
    assert Constants(model).get(node.outputs[0]) is None


def test_one_evaluation_each() -> None:
    """Asking again gives the same array, not another one."""
    b = Builder()
    name = b("Sqrt", b.stored([4.0]))
    model = b.model(b("Add", b.input(1), name))
    constants, value = Constants(model), ir.convenience.create_value_mapping(model.graph)[name]
    assert constants.get(value) is constants.get(value)
