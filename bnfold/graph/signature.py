"""What a graph promises to its callers: its inputs and outputs, by name, type, order and shape."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import onnx_ir as ir


@dataclass(frozen=True)
class Port:
    """One graph input or output as the file declares it; symbolic extents keep their names."""

    name: str
    type: ir.TypeProtocol | None
    shape: ir.Shape | None

    @classmethod
    def of(cls, value: ir.Value) -> Self:
        """Read the port that ``value`` is; the shape is a copy, since passes edit shapes in place."""
        return cls(value.name or "", value.type, None if value.shape is None else value.shape.copy())

    def restore(self, value: ir.Value) -> None:
        """Declare ``value`` as it was declared before."""
        value.type, value.shape = self.type, self.shape


@contextmanager
def kept_signature(model: ir.Model) -> Generator[None]:
    """Hold the passes that run inside to the model's inputs and outputs.

    Passes merge what they infer into the declarations (an ``Identity`` output declared ``(1, C)`` turns the graph's
    input from ``(N, C)`` into ``(1, C)``), and may lose the name of an output. Types and shapes are put back; a lost
    name or a changed order is a broken promise of ours and raises ``AssertionError``.
    """
    inputs = [Port.of(value) for value in model.graph.inputs]
    outputs = [Port.of(value) for value in model.graph.outputs]
    yield
    for ports, values in ((inputs, model.graph.inputs), (outputs, model.graph.outputs)):
        before, after = [port.name for port in ports], [value.name for value in values]
        if before != after:
            raise AssertionError(f"a pass turned {before} into {after}")
        for port, value in zip(ports, values, strict=True):
            port.restore(value)
