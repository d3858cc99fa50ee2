"""Nested values with tensors in them, taken apart into the storages that the tensors lie in."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bnfold.population.spill import Bytes, Packed


def pack_tensors(kept: Collection[int] = ()) -> Callable[[object], Packed[object]]:
    """Return a function that takes values apart for `States`.

    A value is any nesting of tuples, lists and dicts. Tensors that share a storage, such as a tensor and a view of it,
    share one again when the value comes back, so that an operation in place shows in both. ``kept`` are the addresses
    of storages that are held elsewhere, such as those of a model's weights; these, and what is no dense tensor, stay
    as they are.
    """

    def pack(value: object) -> Packed[object]:
        leaves, structure = pytree.tree_flatten(value)
        storages: dict[tuple[torch.device, int], torch.UntypedStorage] = {}
        packed: list[object] = []
        for leaf in leaves:
            if _is_plain(leaf) and leaf.untyped_storage().data_ptr() not in kept:
                storage = leaf.untyped_storage()
                key = leaf.device, storage.data_ptr()
                storages.setdefault(key, storage)
                packed.append(_View(list(storages).index(key), leaf))
            else:
                packed.append(leaf)
        devices = [device for device, _ in storages]

        def unpack(read: Sequence[Bytes]) -> object:
            # torch.from_numpy shares memory, and one storage is made for all views of it.
            restored = [torch.from_numpy(b).to(d).untyped_storage() for b, d in zip(read, devices, strict=True)]
            values = [leaf.restore(restored) if isinstance(leaf, _View) else leaf for leaf in packed]
            return pytree.tree_unflatten(values, structure)

        def read() -> Iterator[Bytes]:
            yield from map(_content, storages.values())

        return Packed([storage.nbytes() for storage in storages.values()], read, unpack)

    return pack


def storages_of(model: nn.Module) -> frozenset[int]:
    """Return the addresses of the storages of a model's parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return frozenset(tensor.untyped_storage().data_ptr() for tensor in tensors if _is_plain(tensor))


def own_storage(value: object) -> object:
    """Return ``value`` with tensors that no one else holds: copies where they are parts of something larger."""

    def owned(tensor: Tensor) -> Tensor:
        is_part = _is_plain(tensor) and tensor.untyped_storage().nbytes() > tensor.nbytes
        return tensor.detach().clone() if is_part else tensor

    return pytree.tree_map_only(Tensor, owned, value)


class _View:
    """How a tensor lies in its storage."""

    def __init__(self, index: int, tensor: Tensor) -> None:
        self._index = index
        self._device, self._dtype = tensor.device, tensor.dtype
        self._place = tensor.storage_offset(), tensor.size(), tensor.stride()

    def restore(self, storages: Sequence[torch.UntypedStorage]) -> Tensor:
        empty = torch.empty(0, dtype=self._dtype, device=self._device)
        return empty.set_(storages[self._index], *self._place)  # pyright: ignore[reportArgumentType]  # torch's stub wants a typed one


def _is_plain(leaf: object) -> TypeGuard[Tensor]:
    if not isinstance(leaf, Tensor) or leaf.layout is not torch.strided or leaf.numel() == 0:
        return False
    return not (leaf.is_quantized or leaf.is_conj() or leaf.is_neg() or leaf.is_meta)


def _content(storage: torch.UntypedStorage) -> Bytes:
    flat = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    return flat.cpu().numpy()
