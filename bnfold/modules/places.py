"""Where a module keeps the constants that its captured graph reads, or could keep those that the graph lacks."""

from collections import Counter
from collections.abc import Iterable

import onnx_ir as ir
import torch
from torch import Tensor, nn

from bnfold.folding.forms import Linear, Normalization, Pointwise
from bnfold.folding.sharing import Stored, stored
from bnfold.graph.constants import Constants
from bnfold.graph.module_names import parameter_names
from bnfold.modules.batch_norms import Normalizers, part_of

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Modules that add a bias wherever they have one."""


class Places:
    """Finds for a constant of the graph the tensor of the module that holds it, by name.

    A tensor cannot be written if its memory is another's too (a view of a flat vector, an expanded one).
    """

    def __init__(self, module: nn.Module, graph: ir.Graph, constants: Constants, normalizers: Normalizers) -> None:
        self.module = module
        self.normalizers = normalizers
        self._graph = graph
        self._constants = constants
        self._parts = dict(module.named_modules(remove_duplicate=False))
        self._names = {part: name for name, part in module.named_modules()}
        tensors = {name: _tensor(module, name) for name in parameter_names(module).values()}
        self._writable = {name for name, tensor in tensors.items() if not _overlaps(tensor)} - _aliased(tensors)

    def stored(self, value: ir.Value) -> Stored:
        """Follow a constant back to the tensor that holds it."""
        return stored(value, self._constants)

    def of(self, value: ir.Value | None) -> str | None:
        """Return the name of the tensor that holds a constant, None where none does that can be written."""
        if value is None:
            return None
        root = self.stored(value).root
        if not root.is_initializer() or root.is_graph_output() or root.name not in self._writable:
            return None
        return root.name

    def of_bias(self, linear: Linear) -> str | None:
        """Return the name of an operator's bias, also of one that its module lacks but can be given."""
        value = None if linear.bias is None else _operand(*linear.bias)
        if value is None:
            part = self._parts.get(part_of(linear.node))
            takes_a_bias = part is not None and _is_standard(part) and getattr(part, "bias", None) is None
            return f"{self._names[part]}.bias".lstrip(".") if part is not None and takes_a_bias else None
        array = self._constants.get(value)
        multiplied = linear.node.attributes.get_float("beta", 1.0) != 1.0
        return self.of(value) if array is not None and array.size == linear.channels.size and not multiplied else None

    def of_parameters(self, pointwise: Pointwise) -> tuple[str | None, ...]:
        """Return the names of an affine map's parameters, also of those that its module lacks but can be given."""
        owner = self.normalizers.owners.get(pointwise.node)
        if isinstance(pointwise, Normalization) and owner is not None:
            part = self.normalizers.by_name[owner]
            if part.weight is None and part.bias is None:  # pyright: ignore[reportUnnecessaryComparison]  # affine=False
                return tuple(f"{owner}.{name}".lstrip(".") for name in ("weight", "bias"))
        return tuple(self.of(_operand(pointwise.node, slot)) for slot in pointwise.parameter_slots)

    def root(self, name: str) -> ir.Value | None:
        """Return the initializer of a name, None where the graph has none."""
        return self._graph.initializers.get(name)


def has_bias(linear: Linear) -> bool:
    """Whether an operator has a bias, be it 0."""
    return linear.bias is not None and _operand(*linear.bias) is not None


def _operand(node: ir.Node, slot: int) -> ir.Value | None:
    return node.inputs[slot] if slot < len(node.inputs) else None


def _is_standard(part: nn.Module) -> bool:
    """Whether a module is a linear operator of torch's, and its forward torch's own."""
    base = next((base for base in _LINEAR if isinstance(part, base)), None)
    own = ("forward", "_conv_forward")
    return base is not None and all(
        getattr(type(part), name, None) is getattr(base, name, None) and name not in vars(part) for name in own
    )


def _tensor(module: nn.Module, name: str) -> Tensor:
    path, _, attribute = name.rpartition(".")
    tensor = getattr(module.get_submodule(path), attribute)
    assert isinstance(tensor, Tensor)
    return tensor


def _overlaps(tensor: Tensor) -> bool:
    """Whether several elements are one place in memory."""
    return any(extent > 1 and stride == 0 for extent, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _aliased(tensors: dict[str, Tensor]) -> set[str]:
    """Return the names of tensors whose memory another one has too."""
    storages = {name: _storage(tensor) for name, tensor in tensors.items() if tensor.numel()}
    owners = Counter(storages.values())
    return {name for name, storage in storages.items() if owners[storage] > 1}


def _storage(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def slots(forms: Iterable[Pointwise]) -> set[tuple[ir.Node, int]]:
    """Return the inputs at which affine maps read their parameters."""
    return {(pointwise.node, slot) for pointwise in forms for slot in pointwise.parameter_slots}
