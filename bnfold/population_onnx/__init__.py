"""Population statistics of the Batch Normalizations of an ONNX graph, measured on ONNX Runtime, without torch."""

from bnfold.population_onnx.calibrate import calibrate

__all__ = ["calibrate"]
