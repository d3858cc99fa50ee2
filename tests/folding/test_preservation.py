"""What a fold leaves as it was: names, metadata, value infos, unrelated nodes, the order of everything."""

import onnx
import onnx_ir as ir

from bnfold.folding import fold
from tests.folding.builder import Builder
from tests.folding.checker import fold_checked


def network() -> onnx.ModelProto:
    """Return Conv → BN → Relu beside a branch without normalization, with everything that a file can carry."""
    b = Builder()
    x = b.input("N", 3, "H", 4)
    y = b("Relu", b.batch_norm(b.conv(x, 3, 6, 2, 2, pads=[1, 1, 0, 0]), 6))
    z = b("Softmax", b("Neg", b("Sigmoid", x)), axis=1)
    proto = b.proto(y, z)
    proto.producer_name, proto.producer_version, proto.domain = "somebody", "1.2", "com.example"
    proto.model_version, proto.doc_string = 7, "about the model"
    onnx.helper.set_model_props(proto, {"author": "me"})
    proto.graph.doc_string = "about the graph"
    proto.graph.node[-1].doc_string = "about the node"
    proto.graph.input[0].doc_string = "about the input"
    proto.graph.value_info.extend(
        value for value in onnx.shape_inference.infer_shapes(proto).graph.value_info if value.name.startswith("sigmoid")
    )
    return proto


def test_metadata_and_documentation() -> None:
    """Producer, version, properties, documentation strings and opset are the original's."""
    before = network()
    model = ir.from_proto(before)
    fold(model)
    after = ir.to_proto(model)
    for field in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
        assert getattr(after, field) == getattr(before, field)
    assert list(after.metadata_props) == list(before.metadata_props)
    assert list(after.opset_import) == list(before.opset_import)
    assert (after.graph.name, after.graph.doc_string) == (before.graph.name, before.graph.doc_string)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)


def test_unrelated_nodes_and_value_infos() -> None:
    """Nodes without a normalization near them are the same to the byte, and no value info appears or goes."""
    before = network()
    model = ir.from_proto(before)
    fold(model)
    after = ir.to_proto(model)
    kept = [node for node in before.graph.node if node.op_type not in {"BatchNormalization", "Conv", "Relu"}]
    assert [node for node in after.graph.node if node.op_type not in {"Conv", "Relu"}] == kept
    infos = [value for value in after.graph.value_info if value.name.startswith("sigmoid")]
    assert infos == list(before.graph.value_info)


def test_names_of_nodes_weights_and_values() -> None:
    """What stays keeps its name, and the weights that change theirs."""
    before = network()
    model = ir.from_proto(before)
    fold(model)
    after = ir.to_proto(model).graph
    assert [node.name for node in after.node] == [
        n.name for n in before.graph.node if n.op_type != "BatchNormalization"
    ]
    conv = next(node for node in before.graph.node if node.op_type == "Conv")
    assert [tensor.name for tensor in after.initializer] == list(conv.input[1:])


def test_order_of_initializers() -> None:
    """Initializers stay in order; new ones are behind them."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2, bias=False), 6)
    model = b.model(b.conv(x, 6, 4, 1, 1))
    names = list(model.graph.initializers)
    folded = fold_checked(model)
    after = list(folded.model.graph.initializers)
    assert [name for name in after if name in names] == [name for name in names if name in after]
    assert [name in names for name in after] == sorted((name in names for name in after), reverse=True)


def test_new_names_are_new() -> None:
    """A name that the graph has already is not taken for a new weight."""
    b = Builder()
    conv = b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2, bias=False)
    taken = b("Neg", b.stored([1.0], name=f"{b.nodes[-1].name}.bias"))
    y = b("Add", b("Relu", b.batch_norm(conv, 6)), taken)
    assert fold_checked(b.model(y)).count("BatchNormalization") == 0


def test_a_graph_without_normalizations() -> None:
    """Nothing to fold changes no byte."""
    b = Builder()
    x = b("Relu", b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2))
    model = b.model(b("Gemm", b("Flatten", b("GlobalAveragePool", x)), b.normal(6, 4), b.normal(4), beta=0.5))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    report = fold(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    assert report.batch_norms == ()
    assert report.largest_scale == 1.0


def test_the_same_input_gives_the_same_bytes() -> None:
    """Folding twice from the start gives one result."""
    first, second = (ir.from_proto(network()) for _ in range(2))
    fold(first)
    fold(second)
    left, right = (ir.to_proto(model).SerializeToString(deterministic=True) for model in (first, second))
    assert left == right


def test_nodes_without_names() -> None:
    """A normalization without a name goes by its output's, and what is new gets a name all the same."""
    b = Builder()
    product = b("MatMul", b.input("N", 3), b.normal(3, 4))
    y = b.batch_norm(product, 4)
    model = b.model(b("Relu", y))
    for node in model.graph:
        node.name = None
    report = fold(model)
    assert [outcome.name for outcome in report.batch_norms] == [y]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_an_old_opset_is_refused_not_misread() -> None:
    """Before opset 7 broadcasting and modes were attributes: everything is kept, and the report says what to do."""
    b = Builder()
    x = b.batch_norm(b.conv(b.input("N", 3, 5, 4), 3, 6, 2, 2), 6)
    model = b.model(x)
    model.graph.opset_imports[""] = 6
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    (outcome,) = fold(model).batch_norms
    assert "opset 6" in outcome.detail
    assert "convert" in outcome.detail
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
