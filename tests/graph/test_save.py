"""Tests of ``bnfold.graph.save``: whole or not at all, beside the model what protobuf cannot hold."""

from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.graph import float_initializers, load, save

MODULE = import_module("bnfold.graph.save")  # `bnfold.graph.save` is the function of that name

LONG_NAME = f"{'n' * 300}.onnx"
"""Longer than any common file system allows: a refusal that root gets too."""


def model(rows: int = 300) -> ir.Model:
    """Return a MatMul by a weight of ``rows`` x 7 floats."""
    x = ir.val("x", ir.DataType.FLOAT, ["N", rows])
    weight = np.random.default_rng(0).normal(size=(rows, 7)).astype(np.float32)
    tensor = ir.Tensor(weight, name="w")
    w = ir.Value(name="w", type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
    node = ir.node("MatMul", [x, w], name="matmul")
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = "y", ir.DataType.FLOAT, ir.Shape(["N", 7])
    graph = ir.Graph([x], [node.outputs[0]], nodes=[node], initializers=[w], opset_imports={"": 17}, name="g")
    return ir.Model(graph, ir_version=8)


def weights(path: Path) -> bytes:
    """Return the bytes of the weight in a file."""
    return dict(float_initializers(load(path)))["w"].tobytes()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """One file, valid, with the same weight; the folder on the way is made, and nothing else is in it."""
    path = tmp_path / "deep" / "m.onnx"
    save(model(), path)
    onnx.checker.check_model(path, full_check=True)
    assert weights(path) == weights_of(model())
    assert list(path.parent.iterdir()) == [path]


def weights_of(a_model: ir.Model) -> bytes:
    """Return the bytes of the weight in a model."""
    return dict(float_initializers(a_model))["w"].tobytes()


def test_the_model_in_memory_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its weights went beside the file: its tensors are not replaced by references to it."""
    monkeypatch.setattr(MODULE, "PROTOBUF_LIMIT", 2**26 + 1000)
    a_model = model()
    tensor = a_model.graph.initializers["w"].const_value
    save(a_model, tmp_path / "m.onnx")
    assert a_model.graph.initializers["w"].const_value is tensor


@pytest.mark.parametrize(("limit", "files"), [(8400, ["m.onnx"]), (8399, ["m.onnx", "m.onnx.data"])])
def test_weights_above_the_limit_go_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, files: list[str]
) -> None:
    """At the limit of 300 x 7 x 4 bytes they stay inside, one byte below they do not; both load."""
    monkeypatch.setattr(MODULE, "PROTOBUF_LIMIT", 2**26 + limit)
    path = tmp_path / "m.onnx"
    save(model(), path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == files
    assert weights(path) == weights_of(model())
    assert (path.stat().st_size > 8400) is (len(files) == 1)


def test_external_data_stays_external_and_may_be_saved_over_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model read from a file with side file is written to the same place, whose side file it still reads from."""
    monkeypatch.setattr(MODULE, "PROTOBUF_LIMIT", 2**26 + 1000)
    path = tmp_path / "m.onnx"
    save(model(), path)
    monkeypatch.undo()
    for _ in range(2):
        save(load(path), path)
    assert weights(path) == weights_of(model())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def fail() -> ir.TensorProtocol:
    """Raise as a disk would from which the weight is read."""
    raise OSError("input/output error")


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """A model whose weights cannot be read does not touch what is there."""
    path = tmp_path / "m.onnx"
    save(model(), path)
    before = path.read_bytes()
    broken = model()
    broken.graph.initializers["w"].const_value = ir.LazyTensor(fail, dtype=ir.DataType.FLOAT, shape=ir.Shape([300, 7]))
    with pytest.raises(InputError, match="input/output error"):
        save(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    """Below a regular file, and under a name that is too long: one line with the path, nothing written."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "m.onnx", tmp_path / LONG_NAME):
        with pytest.raises(InputError, match="could not be written"):
            save(model(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_shards_hold_what_one_file_would(tmp_path: Path) -> None:
    """No shard is larger than asked for, but for the weight that is by itself; what is loaded is what was saved."""
    arrays = {f"w{index}": np.full(size, index, np.float32) for index, size in enumerate((200, 150, 100, 900))}
    values = [ir.Value(name=name, const_value=ir.tensor(array, name=name)) for name, array in arrays.items()]
    values[0].type, values[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([200])
    graph = ir.Graph([], values[:1], nodes=[], initializers=values, opset_imports={"": 17})
    model = ir.Model(graph, ir_version=8)
    save(model, tmp_path / "model.onnx", max_shard_size=1500)
    sizes = sorted(path.stat().st_size for path in tmp_path.glob("model-0000*-of-0000*.onnx.data"))
    assert len(sizes) == 3
    assert sizes[-1] == 4 * 900
    assert all(size <= 1500 for size in sizes[:-1])
    loaded = load(tmp_path / "model.onnx").graph.initializers
    for name, array in arrays.items():
        tensor = loaded[name].const_value
        assert tensor is not None
        np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("count", [3, 64, 65])  # 64 float32 are 256 bytes, the last to go into the file
def test_arrays_of_a_side_file_stay_readable(tmp_path: Path, count: int) -> None:
    """Small weights that were external go into the file again; who holds the old file's arrays may go on reading."""
    numbers = np.arange(count, dtype=np.float32)
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [count]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:], [onnx.numpy_helper.from_array(numbers, "w")])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    model = load(tmp_path / "a.onnx")
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    held = tensor.numpy()
    save(model, tmp_path / "b.onnx")
    np.testing.assert_array_equal(held, numbers)
    assert model.graph.initializers["w"].const_value is tensor
    written = load(tmp_path / "b.onnx").graph.initializers["w"].const_value
    assert written is not None
    np.testing.assert_array_equal(written.numpy(), numbers)
