"""What exporters leave in a file for their own developers: stack traces, local paths, intermediate forms."""

from collections.abc import Iterator, MutableMapping

import onnx_ir as ir

_PREFIXES = ("pkg.torch.", "pkg.onnxscript.")
_NAMES = frozenset({"namespace"})


def remove_exporter_metadata(model: ir.Model) -> None:
    """Remove torch's and onnxscript's own metadata from the model, its graphs, nodes and values; users' keys stay."""
    for properties in _metadata(model):
        for key in [key for key in properties if key in _NAMES or key.startswith(_PREFIXES)]:
            del properties[key]


def _metadata(model: ir.Model) -> Iterator[MutableMapping[str, str]]:
    yield model.metadata_props
    for graph in model.graphs():
        yield graph.metadata_props
        for value in (*graph.inputs, *graph.initializers.values()):
            yield value.metadata_props
        for node in graph:
            yield node.metadata_props
            for value in node.outputs:
                yield value.metadata_props
