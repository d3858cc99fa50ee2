"""ONNX files out: written whole or not at all, external data beside the model where protobuf cannot hold it."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from bnfold.files import atomic_file
from bnfold.graph import protobuf
from bnfold.graph.quiet import quiet

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes that one protobuf message can hold."""

_GRAPH_MARGIN = 64 * 2**20


def save(model: ir.Model, path: Path, *, max_shard_size: int | None = None) -> None:
    """Write ``model`` to ``path`` atomically; the model in memory stays as it is.

    Weights go into ``<file name>.data`` beside the file when together they exceed what protobuf can hold, or when any
    of them was read from external data. The side file takes its place a moment before the model does. Weights are
    streamed: those that were read from external data pass through memory a part at a time.

    Args:
        model: what to write.
        path: the file.
        max_shard_size: bytes that one side file may have, but for a weight that is larger by itself: there are as many
            side files as that takes, ``<stem>-00001-of-00003.onnx.data`` and so on. Weights of more than a few
            numbers are then always beside the model.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_file(path) as temporary:
        if max_shard_size is not None or _needs_external_data(model):
            write_beside(model, temporary, f"{path.name}.data", max_shard_size=max_shard_size)
            for written in sorted(temporary.parent.iterdir()):
                if written != temporary:
                    written.replace(path.parent / written.name)
        else:
            protobuf.write(model, temporary)


def write_beside(
    model: ir.Model, path: Path, side_file: str, *, small: int = 256, max_shard_size: int | None = None
) -> None:
    """Write ``model`` with weights of more than ``small`` bytes in side files; the model in memory stays as it is."""
    with quiet(), _small_weights_copied(model, small):  # a weight larger than a shard is worth no warning
        ir.save(
            model,
            path,
            format="protobuf",
            external_data=side_file,
            size_threshold_bytes=small,
            max_shard_size_bytes=max_shard_size,
        )


@contextmanager
def _small_weights_copied(model: ir.Model, small: int) -> Generator[None]:
    """Hold weights that go into the graph in memory: onnx-ir would close their files under arrays still in use."""
    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    external = {value: value.const_value for value in values if isinstance(value.const_value, ir.ExternalTensor)}
    for value, tensor in external.items():
        if tensor.nbytes <= small:
            value.const_value = ir.Tensor(tensor.numpy().copy(), name=value.name)
    try:
        yield
    finally:
        for value, tensor in external.items():
            value.const_value = tensor


def _needs_external_data(model: ir.Model) -> bool:
    tensors = [value.const_value for graph in model.graphs() for value in graph.initializers.values()]
    known = [tensor for tensor in tensors if tensor is not None]
    return any(isinstance(tensor, ir.ExternalTensor) for tensor in known) or (
        sum(tensor.nbytes for tensor in known) > PROTOBUF_LIMIT - _GRAPH_MARGIN
    )
