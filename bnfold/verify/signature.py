"""What a graph takes and gives: names, types and extents, and whether two graphs or a set of arrays agree on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from bnfold.errors import InputError

Dim = int | str | None
"""An extent, the name of a symbolic extent, or None where nothing is known."""


@dataclass(frozen=True)
class Port:
    """One input or output of a graph: its name, its type, and its dims where its rank is known."""

    name: str
    dtype: ir.DataType | None
    dims: tuple[Dim, ...] | None

    @classmethod
    def of(cls, value: ir.Value) -> "Port":
        """Read the port off a value of the graph.

        Raises:
            InputError: it is not a tensor of numbers, and there is no distance to measure.
        """
        if value.dtype is ir.DataType.STRING or not isinstance(value.type, ir.TensorType | None):
            raise InputError(f"{value.name}: expected a tensor of numbers, found {value.type}.")
        dims = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
        return cls(value.name or "", value.dtype, dims)

    def __str__(self) -> str:
        dims = "?" if self.dims is None else ", ".join("?" if dim is None else str(dim) for dim in self.dims)
        return f"{self.name} {self.dtype.name.lower() if self.dtype else '?'}[{dims}]"


@dataclass(frozen=True)
class Signature:
    """The inputs that must be fed (initializers are not among them) and the outputs of a graph, in its order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def of(cls, model: ir.Model) -> "Signature":
        """Read the signature off a model."""
        graph = model.graph
        fed = tuple(Port.of(value) for value in graph.inputs if value.name not in graph.initializers)
        return cls(fed, tuple(Port.of(value) for value in graph.outputs))

    @property
    def fixed_batch(self) -> int | None:
        """Return the extent of the leading axis if the graph fixes it, None if any number of samples can be fed."""
        leading = {port.dims[0] for port in self.inputs if port.dims}
        fixed = {dim for dim in leading if isinstance(dim, int)}
        if len(fixed) > 1 or (fixed and len(leading) > 1):
            ports = ", ".join(map(str, self.inputs))
            raise InputError(f"inputs {ports}: expected one extent of the leading axis, which counts samples.")
        return fixed.pop() if fixed else None


def check_same(original: Signature, candidate: Signature) -> None:
    """Hold ``candidate`` to the names, types, ranks and fixed extents of ``original``.

    Raises:
        InputError: names every port in which the two differ.
    """
    differences = [
        *_differences("input", original.inputs, candidate.inputs),
        *_differences("output", original.outputs, candidate.outputs),
    ]
    if differences:
        raise InputError(f"the two graphs are not comparable: {'; '.join(differences)}.")


def reordered(signature: Signature, inputs: Sequence[str], outputs: Sequence[str], whose: str) -> Iterator[str]:
    """Yield what a graph takes or gives in another order than ``whose`` names, which are the same ones.

    Comparisons go by name and do not notice; callers that index the outputs, or feed by position, get others.
    """
    for kind, expected, ports in (("inputs", inputs, signature.inputs), ("outputs", outputs, signature.outputs)):
        found = [port.name for port in ports]
        if list(expected) != found:
            orders = f"[{', '.join(expected)}] in {whose}, [{', '.join(found)}] in the candidate"
            yield f"{kind} in another order: {orders}: callers that go by position get others"


def check_inputs(signature: Signature, inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    """Return the number of samples in ``inputs``: the common extent of their leading axes.

    Raises:
        InputError: an input is missing or unknown, of the wrong type, rank or extent, or the numbers of samples differ.
    """
    expected = {port.name: port for port in signature.inputs}
    if set(inputs) != set(expected):
        wanted, found = ", ".join(map(str, signature.inputs)) or "none", ", ".join(sorted(inputs)) or "none"
        raise InputError(f"inputs: the graph expects {wanted}; found {found}.")
    for name, port in expected.items():
        _check_array(port, inputs[name])
    counts = {name: len(inputs[name]) for name in expected if inputs[name].ndim}
    if len(set(counts.values())) > 1:
        raise InputError(f"inputs: expected the same number of samples in each, found {counts}.")
    samples = next(iter(counts.values()), 1)
    batch = signature.fixed_batch
    if batch and samples % batch:
        raise InputError(f"inputs: the graph takes batches of {batch}, {samples} samples are not a multiple of it.")
    return samples


def _check_array(port: Port, array: npt.NDArray[Any]) -> None:
    dtype = ir.DataType.from_numpy(array.dtype) if array.dtype != object else None
    dims = (*array.shape[:1], *(port.dims or ())[1:]) if port.dims else port.dims
    agrees = dims is None or (
        len(dims) == array.ndim
        and all(not isinstance(dim, int) or dim == size for dim, size in zip(dims, array.shape, strict=True))
    )
    if not agrees or (port.dtype is not None and dtype != port.dtype):
        found = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
        raise InputError(f"input {port.name}: the graph expects {port}, found {found}.")


def _differences(kind: str, original: tuple[Port, ...], candidate: tuple[Port, ...]) -> list[str]:
    theirs = {port.name: port for port in candidate}
    differences = [f"{kind} {port} is missing in the candidate" for port in original if port.name not in theirs]
    ours = {port.name: port for port in original}
    differences += [f"{kind} {port} is only in the candidate" for port in candidate if port.name not in ours]
    common = [(port, theirs[port.name]) for port in original if port.name in theirs]
    return differences + [f"{kind} {ours} became {theirs}" for ours, theirs in common if not _agree(ours, theirs)]


def _agree(ours: Port, theirs: Port) -> bool:
    if ours.dtype and theirs.dtype and ours.dtype != theirs.dtype:
        return False
    if ours.dims is None or theirs.dims is None:
        return True
    if len(ours.dims) != len(theirs.dims):
        return False
    pairs = zip(ours.dims, theirs.dims, strict=True)
    return all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))
