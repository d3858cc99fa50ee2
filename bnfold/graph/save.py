"""ONNX files out: written whole or not at all, external data beside the model where protobuf cannot hold it."""

from pathlib import Path

import onnx_ir as ir

from bnfold.files import atomic_file

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes that one protobuf message can hold."""

_GRAPH_MARGIN = 64 * 2**20


def save(model: ir.Model, path: Path) -> None:
    """Write ``model`` to ``path`` atomically; the model in memory stays as it is.

    Weights go into ``<file name>.data`` beside the file when together they exceed what protobuf can hold, or when any
    of them was read from external data. The side file takes its place a moment before the model does.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_file(path) as temporary:
        if _needs_external_data(model):
            side_file = f"{path.name}.data"
            ir.save(model, temporary, format="protobuf", external_data=side_file)
            (temporary.parent / side_file).replace(path.parent / side_file)
        else:
            ir.save(model, temporary, format="protobuf")


def _needs_external_data(model: ir.Model) -> bool:
    tensors = [value.const_value for graph in model.graphs() for value in graph.initializers.values()]
    known = [tensor for tensor in tensors if tensor is not None]
    return any(isinstance(tensor, ir.ExternalTensor) for tensor in known) or (
        sum(tensor.nbytes for tensor in known) > PROTOBUF_LIMIT - _GRAPH_MARGIN
    )
