"""Tests of ``bnfold.graph.load``: any exporter, any age, nothing trusted."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from bnfold.errors import InputError
from bnfold.graph import float_initializers, load

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def proto(location: str | None = None, length: int | None = WEIGHT.nbytes) -> onnx.ModelProto:
    """Return a MatMul by `WEIGHT`, which is stored in the file or at ``location``."""
    tensor = numpy_helper.from_array(WEIGHT, "w")
    if location is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("length", length)):
            if value is not None:
                tensor.external_data.add(key=key, value=str(value))
    x, y = (helper.make_tensor_value_info(name, 1, ["N", extent]) for name, extent in (("x", 2), ("y", 3)))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "matmul")], "g", [x], [y], [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(path: Path, model: onnx.ModelProto | bytes) -> Path:
    """Write a model as it is and return the path."""
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def test_reads_graph_and_weights(tmp_path: Path) -> None:
    """Names, nodes and values are the file's."""
    model = load(write(tmp_path / "m.onnx", proto()))
    assert [node.name for node in model.graph] == ["matmul"]
    name, value = next(iter(float_initializers(model)))
    assert name == "w"
    np.testing.assert_array_equal(value, WEIGHT)


def test_float_initializers_are_the_floating_ones(tmp_path: Path) -> None:
    """Shapes and indices are not among them; halves and doubles are."""
    model = proto()
    for name, array in (("i", np.ones(2, np.int64)), ("h", np.ones(2, np.float16)), ("d", np.ones(2))):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    assert [name for name, _ in float_initializers(load(write(tmp_path / "m.onnx", model)))] == ["w", "h", "d"]


def test_functions_are_inlined(tmp_path: Path) -> None:
    """A call of a model-local function becomes the standard's operators."""
    text = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[N, 3] x) => (float[N, 3] y) { y = local.twice(x) }
        <domain: "local", opset_import: ["": 17]> twice (a) => (c) { c = Add(a, a) }"""
    model = load(write(tmp_path / "m.onnx", parser.parse_model(text)))
    assert [(node.domain, node.op_type) for node in model.graph] == [("", "Add")]
    assert not model.functions


def test_external_data_is_read_from_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the file, wherever the process is, and by a relative path too."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w.bin").write_bytes(WEIGHT.tobytes())
    write(tmp_path / "models" / "m.onnx", proto("w.bin"))
    monkeypatch.chdir(tmp_path)
    for path in (Path("models/m.onnx"), tmp_path / "models" / "m.onnx"):
        np.testing.assert_array_equal(dict(float_initializers(load(path)))["w"], WEIGHT)


@pytest.mark.parametrize("location", ["../w.bin", "deep/../../w.bin", "/etc/hostname"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    """Also where the file is there and has the size."""
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "models" / "deep").mkdir(parents=True)
    path = write(tmp_path / "models" / "m.onnx", proto(location))
    with pytest.raises(InputError, match=r"m\.onnx: initializer w points outside the model's folder"):
        load(path)


def test_external_data_that_is_missing_or_truncated_is_refused(tmp_path: Path) -> None:
    """The message names the file and the initializer."""
    path = write(tmp_path / "m.onnx", proto("w.bin"))
    with pytest.raises(InputError, match=r"m\.onnx: external data file w\.bin of initializer w is missing"):
        load(path)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes()[:-1])
    with pytest.raises(InputError, match=r"m\.onnx: external data file w\.bin is truncated \(initializer w\)"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"hello world, this is text\n" * 9, bytes(range(256))])
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty files, text, and arbitrary bytes."""
    path = write(tmp_path / "m.onnx", content)
    with pytest.raises(InputError, match=r"m\.onnx: not an ONNX (file|model)"):
        load(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """After every byte of it: an error in one line, never another exception, never a model with a part missing."""
    content = proto().SerializeToString()
    for end in range(len(content)):
        path = write(tmp_path / "m.onnx", content[:end])
        with pytest.raises(InputError, match=r"m\.onnx: ") as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    """Before anything is parsed."""
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "missing.onnx")
    with pytest.raises(InputError, match="found a directory"):
        load(tmp_path)


def external_constant(location: str) -> onnx.ModelProto:
    """Return the same MatMul, its weight a Constant node's tensor at ``location``."""
    model = proto(location)
    node = helper.make_node("Constant", [], ["w"], value=model.graph.initializer.pop())
    model.graph.node.insert(0, node)
    return model


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "link.bin"])
def test_external_data_of_a_constant_node_is_held_to_the_same(tmp_path: Path, location: str) -> None:
    """Also a link that leads out of the folder."""
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link.bin").symlink_to(tmp_path / "w.bin")
    for model in (external_constant(location), proto(location)):
        with pytest.raises(InputError, match="points outside the model's folder"):
            load(write(tmp_path / "models" / "m.onnx", model))


def test_external_data_without_a_length_is_as_long_as_its_shape(tmp_path: Path) -> None:
    """A side file that is too short for it is truncated."""
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes()[:-1])
    with pytest.raises(InputError, match=r"w\.bin is truncated"):
        load(write(tmp_path / "m.onnx", proto("w.bin", length=None)))


def test_a_tensor_shorter_than_its_shape_is_refused(tmp_path: Path) -> None:
    """When the file is read, not when the weight is used."""
    model = proto()
    model.graph.initializer[0].raw_data = b"\0" * 10
    with pytest.raises(InputError, match="tensor w is not as long as its shape"):
        load(write(tmp_path / "m.onnx", model))


@pytest.mark.parametrize(
    ("port", "words"), [("input", "matmul: .*value unknown"), ("output", "outputs: .*value unknown")]
)
def test_a_value_that_nothing_computes_is_refused(tmp_path: Path, port: str, words: str) -> None:
    """As the input of a node, and as an output of the graph."""
    model = proto()
    if port == "input":
        model.graph.node[0].input[0] = "unknown"
    else:
        model.graph.output[0].name = "unknown"
    with pytest.raises(InputError, match=words):
        load(write(tmp_path / "m.onnx", model))


def test_a_malformed_field_is_named(tmp_path: Path) -> None:
    """By the first cause, in one line."""
    model = proto()
    model.graph.initializer[0].data_type = 99
    with pytest.raises(InputError, match="malformed ONNX model: 99 is not a valid DataType"):
        load(write(tmp_path / "m.onnx", model))


def test_a_graph_without_outputs_is_refused(tmp_path: Path) -> None:
    """It computes nothing: no runtime takes it."""
    model = proto()
    del model.graph.output[:]
    with pytest.raises(InputError, match="its graph has no outputs"):
        load(write(tmp_path / "m.onnx", model))


def test_an_opset_of_the_future_is_refused(tmp_path: Path) -> None:
    """What its operators mean is not known."""
    model = proto()
    model.opset_import[0].version = 99
    with pytest.raises(InputError, match=r"opset 99 is newer than \d+"):
        load(write(tmp_path / "m.onnx", model))


def test_sparse_initializers_are_refused(tmp_path: Path) -> None:
    """The IR does not have them: it would leave a value that nothing computes."""
    model = proto()
    values, places = numpy_helper.from_array(WEIGHT[0], "w"), numpy_helper.from_array(np.arange(3), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 3]))
    del model.graph.initializer[:]
    with pytest.raises(InputError, match="its graph has sparse initializers; store them as plain ones"):
        load(write(tmp_path / "m.onnx", model))
