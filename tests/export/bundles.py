"""A small network and what a bundle is made of."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx import parser

from bnfold.export import Bundle, optimize, write_bundle
from bnfold.folding import fold

TEXT = """<ir_version: 8, opset_import: ["": 17]> net (float[batch, 3, 6, 5] images) => (float[batch, 4] logits) {
    a = Conv<pads: ints = [1, 1, 1, 1]>(images, w)
    b = BatchNormalization<epsilon: float = 0.25>(a, scale, shift, mean, variance)
    c = Relu(b) d = GlobalAveragePool(c) logits = Flatten(d) }"""

SAMPLES = 37
"""More than one batch of the oracle, and not a multiple of it."""


def network() -> ir.Model:
    """Return Conv, BatchNormalization, Relu and pooling with random weights; the first graph input is the only one."""
    generator = np.random.default_rng(0)
    constants = {
        "w": generator.normal(size=(4, 3, 3, 3)),
        "scale": generator.normal(size=4),
        "shift": generator.normal(size=4),
        "mean": generator.normal(size=4),
        "variance": generator.uniform(0.5, 2, size=4),
    }
    ports = ", ".join(["images", *(f"float[] {name}" for name in constants)])
    model = ir.from_proto(parser.parse_model(TEXT.replace("images)", f"{ports})", 1)))
    for value in list(model.graph.inputs[1:]):
        array = constants[str(value.name)].astype(np.float32)
        value.const_value, value.shape = ir.tensor(array, name=value.name), ir.Shape(array.shape)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def inputs() -> dict[str, npt.NDArray[Any]]:
    """Return golden inputs."""
    return {"images": np.random.default_rng(1).normal(size=(SAMPLES, 3, 6, 5)).astype(np.float32)}


def write(folder: Path, *, force: bool = False, **replaced: Any) -> Bundle:
    """Fold and optimize the network and write its bundle; ``replaced`` are other arguments of `write_bundle`."""
    original, model = network(), network()
    report = fold(model)
    optimize(model)
    arguments: dict[str, Any] = {
        "model": model,
        "original": original,
        "inputs": inputs(),
        "fold_report": report.to_dict(),
        "provenance": {"kind": "test", "path": "net.onnx"},
        **replaced,
    }
    return write_bundle(folder, force=force, **arguments)
