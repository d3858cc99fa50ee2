"""Which module stands behind a normalization of the graph, and what a module becomes when its normalization goes."""

from collections.abc import Mapping

import onnx_ir as ir
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # the base of all of torch's

from bnfold.errors import InputError
from bnfold.nn.batch_norm import BatchNorm

STANDARD = (_BatchNorm.forward, nn.SyncBatchNorm.forward, BatchNorm.forward)
"""The forwards that normalize and do nothing else."""

TENSORS = ("weight", "bias", "running_mean", "running_var")
"""What a normalization module computes with."""


def require_inference_mode(module: nn.Module) -> None:
    """Check that no normalization of a module would use its minibatch's statistics for being in training mode.

    Raises:
        InputError: names the first that would.
    """
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and part.training:
            where = f"{type(module).__name__}, part {name}" if name else type(module).__name__
            raise InputError(f"{where}: {type(part).__name__} is in training mode; call .eval() first.")


def named_batch_norms(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return the normalizations among the parts of a module, each by the first of its names."""
    return {name: part for name, part in module.named_modules() if isinstance(part, _BatchNorm)}


class Normalizers:
    """The normalizations of a captured graph and the modules that they come from.

    Attributes:
        by_name: the modules by name.
        owners: the name of the module that each BatchNormalization node is the whole of; nodes that come from a call of
            ``F.batch_norm`` or from a module with a forward of its own are not there.
    """

    def __init__(self, module: nn.Module, graph: ir.Graph) -> None:
        self.by_name = named_batch_norms(module)
        self._parts = dict(module.named_modules(remove_duplicate=False))
        self._names = {part: name for name, part in self.by_name.items()}
        self._initializers = dict(graph.initializers)
        parts = (self._parts.get(part_of(n)) for n in graph.all_nodes() if n.op_type == "BatchNormalization")
        self._seen = {self._names[part] for part in parts if isinstance(part, _BatchNorm)}
        owners = ((node, self._owner(node)) for node in graph.all_nodes() if node.op_type == "BatchNormalization")
        self.owners: Mapping[ir.Node, str] = {node: owner for node, owner in owners if owner is not None}

    def refusal(self, node: ir.Node) -> str | None:
        """Say in words why no module can be replaced for a node to go, None where one can."""
        owner = self.owners.get(node)
        if owner == "":
            return "it is the module itself, which nothing can take the place of"
        if owner is not None:
            return None
        part = self._parts.get(part_of(node))
        if isinstance(part, _BatchNorm):
            return f"{type(part).__name__} has a forward of its own, of which the normalization is a part"
        return "it is a call in forward (F.batch_norm), not a module that can be replaced"

    def unseen(self) -> list[str]:
        """Return the names of modules that no output depends on: their tensors are nowhere in the graph.

        Raises:
            InputError: one is in the graph in another form than as a normalization.
        """
        unseen: list[str] = []
        for name in (name for name in self.by_name if name not in self._seen):
            tensors = {f"{name}.{tensor}".lstrip(".") for tensor in TENSORS}
            nodes = [
                use.node for tensor in tensors & self._initializers.keys() for use in self._initializers[tensor].uses()
            ]
            if any(node.op_type == "BatchNormalization" for node in nodes):
                continue  # F.batch_norm reads them; the node has an outcome of its own
            if nodes:
                raise InputError(
                    f"part {name}: the captured graph has no BatchNormalization for it, but {nodes[0].name} reads its "
                    "parameters; export the module to ONNX and fold the file."
                )
            unseen.append(name)
        return unseen

    def _owner(self, node: ir.Node) -> str | None:
        part = self._parts.get(part_of(node))
        if not isinstance(part, _BatchNorm) or "forward" in vars(part) or type(part).forward not in STANDARD:
            return None
        return self._names[part]


def part_of(node: ir.Node) -> str:
    """Return the path of the part of a module that a captured node comes from."""
    return (node.name or "").rpartition("/")[0]


def become_identity(part: nn.Module) -> None:
    """Make a module an ``nn.Identity`` in place: whoever holds it, under whatever name, holds the identity then.

    Its hooks and its training flag stay; its parameters, buffers and settings go.
    """
    identity = vars(nn.Identity())
    for name in [name for name in vars(part) if name not in identity]:
        delattr(part, name)
    for registry in (part._parameters, part._buffers, part._modules):  # pyright: ignore[reportPrivateUsage]  # no public way
        registry.clear()
    part._non_persistent_buffers_set.clear()  # pyright: ignore[reportPrivateUsage]  # no public way
    part.__class__ = nn.Identity
