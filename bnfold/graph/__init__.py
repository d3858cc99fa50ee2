"""ONNX graphs in and out: load, save, shapes, constants; `graph.capture`, which needs torch, is imported by name."""

from bnfold.graph.load import float_initializers, load
from bnfold.graph.save import save
from bnfold.graph.shapes import Dims, infer_shapes

__all__ = ["Dims", "float_initializers", "infer_shapes", "load", "save"]
