"""Small ONNX files and data for the tests of the command line."""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, save

IMAGE = (3, 6, 5)


def conv_bn_relu(*, eps: float = 0.3, nan: bool = False) -> ModelProto:
    """Return Conv → BatchNormalization → Relu over ``x (batch, 3, 6, 5)``; with ``nan`` one weight is NaN."""
    generator = np.random.default_rng(7)
    weights = {
        "conv.weight": generator.standard_normal((4, 3, 3, 3)),
        "bn.scale": generator.uniform(0.5, 2, 4),
        "bn.bias": generator.standard_normal(4),
        "bn.mean": generator.standard_normal(4),
        "bn.var": generator.uniform(0.5, 2, 4),
    }
    if nan:
        weights["conv.weight"][1, 2, 0, 1] = np.nan
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization",
            ["c", "bn.scale", "bn.bias", "bn.mean", "bn.var"],
            ["n"],
            name="bn",
            epsilon=eps,
        ),
        helper.make_node("Relu", ["n"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "conv_bn_relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *IMAGE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 6, 5])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return model


def sigmoid_bn_sigmoid() -> ModelProto:
    """Return Sigmoid → BatchNormalization → Sigmoid over ``x (batch, 3)``: nothing around it could take it up."""
    generator = np.random.default_rng(8)
    parameters = {name: generator.uniform(0.5, 2, 3) for name in ("scale", "bias", "mean", "var")}
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"], name="before"),
        helper.make_node("BatchNormalization", ["s", *parameters], ["n"], name="stays", epsilon=0.3),
        helper.make_node("Sigmoid", ["n"], ["y"], name="after"),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    initializers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in parameters.items()]
    graph = helper.make_graph(nodes, "sigmoid_bn_sigmoid", ports[:1], ports[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return model


def write_model(path: Path, **options: object) -> Path:
    """Write `conv_bn_relu` to ``path``."""
    save(conv_bn_relu(**options), path)  # pyright: ignore[reportArgumentType]  (the options of the function above)
    return path


def write_inputs(path: Path, *, samples: int = 5, image: tuple[int, ...] = IMAGE) -> Path:
    """Write inputs for `conv_bn_relu` as an npz file."""
    np.savez(path, x=np.random.default_rng(3).standard_normal((samples, *image)).astype(np.float32))
    return path
