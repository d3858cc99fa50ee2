"""What an exporter writes around a network, reduced to the network."""

from collections.abc import Container

import onnx_ir as ir
from onnx_ir.passes import common as passes

from bnfold.graph.constant_folding import fold_constants
from bnfold.graph.dropouts import remove_old_dropouts
from bnfold.graph.reshapes import make_reshapes_static


def simplify(model: ir.Model, *, keep: Container[str] = frozenset()) -> None:
    """Fold constants and shape arithmetic, skip identities and dropouts, remove what is dead; in place.

    The declared shapes are believed; the values computed stay the same, bit for bit.

    Args:
        model: the graph to edit.
        keep: names of initializers that stay stored as they are.
    """
    remove_old_dropouts(model)
    fold_constants(model, keep=keep)
    make_reshapes_static(model)
    fold_constants(model, keep=keep)
    passes.RemoveUnusedNodesPass()(model)
