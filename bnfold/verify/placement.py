"""Where the runtime put every node and where it ran them: records, read off the session and off its profile."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PlacedNode:
    """One node, with the provider it was assigned to or ran on.

    ``outputs`` are the element types that it produced, ``seconds`` is how long it took, and ``run`` counts the runs of
    its session from 0: all three where the profile tells them.
    """

    name: str
    op_type: str
    provider: str
    outputs: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    run: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.name or '(unnamed)'} ({self.op_type}) on {self.provider}"


@dataclass(frozen=True)
class Placement:
    """What one session says about where it works.

    ``assigned`` are the graph's nodes as they were handed to providers, before the runtime fused some of them;
    ``executed`` are the kernels of a run, after it. ``providers`` are the session's, in order of preference.
    """

    providers: tuple[str, ...]
    options: dict[str, dict[str, str]]
    assigned: tuple[PlacedNode, ...]
    executed: tuple[PlacedNode, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of executed kernels by provider."""
        names = [node.provider for node in self.executed]
        return {name: names.count(name) for name in sorted(set(names))}

    def kernels(self) -> dict[str, dict[str, int]]:
        """Return the number of executed kernels by provider and operator: fusions have operators of their own."""
        kinds = Counter((node.provider, node.op_type) for node in self.executed)
        return {name: {op: n for (where, op), n in sorted(kinds.items()) if where == name} for name in self.counts()}

    def to_dict(self) -> dict[str, Any]:
        """Return the record for JSON: what was executed where, and what was not assigned to the first provider."""
        strays = [str(node) for node in (*self.assigned, *self.executed) if node.provider != self.providers[0]]
        return {
            "providers": list(self.providers),
            "options": self.options,
            "assigned": len(self.assigned),
            "executed": self.counts(),
            "kernels": self.kernels(),
            "elsewhere": sorted(set(strays)),
        }


def read_profile(path: Path) -> tuple[PlacedNode, ...]:
    """Return the kernels of an ONNX Runtime profile (a JSON list of Chrome trace events), in order of execution."""
    return tuple(_kernels(json.loads(path.read_text(encoding="utf-8"))))


def _kernels(events: list[dict[str, Any]]) -> Iterator[PlacedNode]:
    run = 0
    for event in events:
        run += event.get("name") == "model_run"  # written when a run has ended, behind its kernels
        details = event.get("args", {})
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            types = tuple(kind for output in details.get("output_type_shape", []) for kind in output)
            name = str(event["name"]).removesuffix("_kernel_time")
            where = str(details.get("provider", ""))
            yield PlacedNode(name, str(details.get("op_name", "")), where, types, event.get("dur", 0) * 1e-6, run)
