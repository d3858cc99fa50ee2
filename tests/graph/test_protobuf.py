"""Tests of ``bnfold.graph.protobuf``: what protobuf itself reads and writes, without its copies of weights."""

import os
import threading
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from bnfold.graph import protobuf

LONG = protobuf.LARGE
"""As many numbers as make any type a large tensor."""

TYPES = (
    *("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "INT64", "UINT16", "BOOL"),
    *("COMPLEX64", "FLOAT8E4M3FN", "INT4"),
)


def tensor(name: str, dtype: str = "FLOAT", dims: tuple[int, ...] = (2, LONG)) -> TensorProto:
    """Return a tensor of zeros and ones."""
    array = np.random.default_rng(0).integers(0, 2, dims)
    return ir.to_proto(ir.Tensor(array.astype(ir.DataType[dtype].numpy()), ir.DataType[dtype], name=name))


def file(*initializers: TensorProto) -> onnx.ModelProto:
    """Return a model of these initializers, with something in every other field of a message."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy")
    info = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N"])
    nodes = [helper.make_node("Relu", ["x"], ["z"], "relu"), helper.make_node("Abs", ["z"], ["y"], "abs")]
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers, "a graph", [info])
    model = helper.make_model(graph, producer_name="test", doc_string="a model", ir_version=10)
    helper.set_model_props(model, {"key": "value"})
    model.graph.metadata_props.add(key="key", value="value")
    return model


def written(model: onnx.ModelProto, path: Path) -> Path:
    """Write by protobuf."""
    path.write_bytes(model.SerializeToString())
    return path


def in_ir(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a message as the IR repeats it: with infos for initializers."""
    return ir.to_proto(ir.from_proto(model))


def read(path: Path) -> ir.Model:
    """Return the model of a file with its weights."""
    proto, weights = protobuf.read(path)
    model = ir.from_proto(proto)
    for name, weight in weights.items():
        model.graph.initializers[name].const_value = weight
    return model


@pytest.mark.parametrize("dtype", TYPES)
def test_what_is_read_and_written_is_the_same_message(tmp_path: Path, dtype: str) -> None:
    """Large or small, whatever the type: field by field what protobuf reads, and what it reads again."""
    large, small = tensor("large", dtype), tensor("small", dtype, (3, 1))
    original = file(small, large, tensor("row", dtype, (2 * LONG,)))
    model = read(written(original, tmp_path / "m.onnx"))
    assert ir.to_proto(model) == in_ir(original)
    protobuf.write(model, tmp_path / "written.onnx")
    assert onnx.load(tmp_path / "written.onnx") == in_ir(original)


def test_only_what_is_plain_is_taken_from_protobuf(tmp_path: Path) -> None:
    """A large weight comes in an array of its own; numbers in other fields, and below a byte, are left in the model."""
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [LONG], np.ones(LONG))
    weight = tensor("w")
    weight.doc_string = "a weight"
    weight.metadata_props.add(key="key", value="value")
    model = file(weight, typed, tensor("nibbles", "INT4"), tensor("small", dims=(4,)))
    proto, weights = protobuf.read(written(model, tmp_path / "m.onnx"))
    assert list(weights) == ["w"]
    assert ir.to_proto(weights["w"]) == weight
    assert weights["w"].numpy().flags.owndata
    assert [header.ByteSize() > LONG for header in proto.graph.initializer] == [False, True, True, False]


def test_a_skeleton_has_shapes_but_no_weights(tmp_path: Path) -> None:
    """But a row of integers may be a shape, and stays; the model itself keeps its tensors."""
    model = read(written(file(tensor("w"), tensor("row", "INT64", (LONG,))), tmp_path / "m.onnx"))
    before = [value.const_value for value in model.graph.initializers.values()]
    weight, row = protobuf.skeleton(model).graph.initializer
    assert (list(weight.dims), weight.data_type, weight.raw_data) == ([2, LONG], TensorProto.FLOAT, b"")
    assert len(row.raw_data) == 8 * LONG
    assert [value.const_value for value in model.graph.initializers.values()] == before


def test_a_file_may_change_after_it_was_read(tmp_path: Path) -> None:
    """The weights are not a window onto it."""
    path = written(file(tensor("w")), tmp_path / "m.onnx")
    _, weights = protobuf.read(path)
    path.write_bytes(b"")
    np.testing.assert_array_equal(weights["w"].numpy(), numpy_helper.to_array(tensor("w")))


def test_of_two_initializers_with_one_name_the_last_counts(tmp_path: Path) -> None:
    """As in runtimes, whichever of them is large."""
    large, small = tensor("w"), tensor("w", dims=(3, 2))
    for first, last in ((large, small), (small, large)):
        model = read(written(file(first, last), tmp_path / "m.onnx"))
        assert ir.to_proto(model) == in_ir(file(first, last))


def test_a_pipe_is_read_too(tmp_path: Path) -> None:
    """What cannot be mapped into memory is read as a whole."""
    pipe, content = tmp_path / "pipe", file(tensor("w"))
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content.SerializeToString(),))
    writer.start()
    model = read(pipe)
    writer.join()
    assert ir.to_proto(model) == in_ir(content)


@pytest.mark.parametrize("part", range(1, 20))
def test_a_file_that_is_cut_is_refused(tmp_path: Path, part: int) -> None:
    """In the middle of a weight, too."""
    content = file(tensor("w"), tensor("v")).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: len(content) * part // 20])
    with pytest.raises(DecodeError):
        protobuf.read(path)


@pytest.mark.parametrize(
    "content",
    [b"\x80", b"\xff" * 11, b"\x0b", b"\x3a\x85\x80", b"\x3a\x7f", b"\x09\x01", b"\x0d\x01"],
    ids=["number cut", "number too long", "group", "length cut", "content cut", "double cut", "float cut"],
)
def test_what_is_no_message_is_refused(tmp_path: Path, content: bytes) -> None:
    """By protobuf's own error."""
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(DecodeError):
        protobuf.read(tmp_path / "m.onnx")


@pytest.mark.parametrize("extent", [LONG - 1, LONG + 1, -LONG])
def test_a_large_tensor_of_another_length_than_its_shape_is_refused(tmp_path: Path, extent: int) -> None:
    """Shorter or longer."""
    short = tensor("w")
    short.dims[1] = extent
    with pytest.raises(ValueError, match=rf"tensor w is not as long as its shape \[2, {extent}\]"):
        protobuf.read(written(file(short), tmp_path / "m.onnx"))
