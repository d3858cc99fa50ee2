"""ONNX Runtime as it is where a device is: its own sessions and profiles, of the CPU, with recorded providers in them.

What ONNX Runtime writes of this machine's CPU is real, in the format of the version that is installed. A recording says
which provider stands there for each node, as on a machine with a GPU where all is well or where the runtime falls back.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from tests.verify.recordings import CPU, CUDA, TENSORRT

Placing = Callable[[str, str], str]
"""Takes the name of a node and its operator and returns the provider."""


def to(provider: str, **elsewhere: str) -> Placing:
    """Return a placing of all nodes on ``provider``, but for those of the operators named in ``elsewhere``."""
    return lambda _, op_type: elsewhere.get(op_type, provider)


_ON_CUDA = to(CUDA)


@dataclass(frozen=True)
class Recording:
    """What a runtime says: of itself, of its sessions, of every node as it is assigned and as it is executed.

    ``available`` are the providers that it is built with; ``unloaded`` the libraries that it cannot load, and why;
    ``providers`` those of a session, by default as asked for; ``failure`` what a provider fails with when it runs.
    """

    assigned: Placing = _ON_CUDA
    executed: Placing = _ON_CUDA
    available: Sequence[str] = (TENSORRT, CUDA, CPU)
    unloaded: Mapping[str, str] = field(default_factory=dict[str, str])
    providers: Sequence[str] | None = None
    failure: str | None = None


def recorded_runtime(recording: Recording) -> ModuleType:
    """Return a module to take the place of ``onnxruntime``; sessions that ask for the CPU alone are the real ones."""

    def session(source: Any, options: Any, providers: Sequence[tuple[str, dict[str, str]]], **rest: Any) -> Any:
        asked = [name for name, _ in providers]
        if asked == [CPU]:
            return onnxruntime.InferenceSession(source, options, providers=asked, **rest)
        return RecordedSession(recording, asked, source, options, providers=[CPU], **rest)

    def preload_dlls() -> None:
        for library, reason in recording.unloaded.items():
            print(f"Failed to load {library}: {reason}")  # noqa: T201  (as the real one does)

    module = ModuleType("onnxruntime")
    module.__dict__.update({name: getattr(onnxruntime, name) for name in dir(onnxruntime) if name != "__name__"})
    module.__dict__.update(
        cuda_version="13.0",
        InferenceSession=session,
        preload_dlls=preload_dlls,
        get_available_providers=lambda: list(recording.available),
    )
    return module


class RecordedSession(onnxruntime.InferenceSession):
    """A session on the CPU that tells what ``recording`` says, having been ``asked`` for other providers."""

    def __init__(self, recording: Recording, asked: Sequence[str], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._recording, self._asked = recording, asked
        if recording.failure is not None:
            self._sess = FailingOnce(self._sess, recording.failure)

    def get_providers(self) -> list[str]:
        """Return what was asked for and the CPU, which ONNX Runtime adds, or what is recorded."""
        return list(self._recording.providers or [*self._asked, CPU])

    def get_provider_graph_assignment_info(self) -> list[Any]:
        """Return every node as a part of its own on its recorded provider."""
        parts = super().get_provider_graph_assignment_info()
        nodes = [node for part in parts for node in part.get_nodes()]
        return [
            SimpleNamespace(
                ep_name=self._recording.assigned(node.name, node.op_type), get_nodes=lambda node=node: [node]
            )
            for node in nodes
        ]

    def end_profiling(self) -> str:
        """Write the recorded providers into the real profile."""
        path = Path(super().end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        for event in events:
            if event["cat"] == "Node":
                name = event["name"].removesuffix("_kernel_time")
                event["args"]["provider"] = self._recording.executed(name, event["args"]["op_name"])
        path.write_text(json.dumps(events), encoding="utf-8")
        return str(path)


class FailingOnce:
    """The inner session of one that a provider fails in, the first time that it runs."""

    def __init__(self, session: Any, failure: str) -> None:
        self._session, self._failure = session, failure

    def run(self, *arguments: Any) -> Any:
        """Raise what ONNX Runtime raises when a provider fails, then run."""
        if self._failure:
            failure, self._failure = self._failure, ""
            raise EPFail(failure)
        return self._session.run(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class RecordedDriver:
    """NVIDIA's driver as the loader gives it: it starts, and sees ``devices`` GPUs."""

    def __init__(self, devices: int) -> None:
        self._devices = devices

    def cuInit(self, _: int) -> int:  # noqa: N802  (NVIDIA's name)
        """Start."""
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        """Count the devices."""
        count._obj.value = self._devices
        return 0


def loader(*found: str, devices: int = 1) -> Callable[[str], RecordedDriver]:
    """Return what takes the place of ``ctypes.CDLL``: it knows the libraries in ``found``."""

    def load(name: str) -> RecordedDriver:
        if name not in found:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return RecordedDriver(devices)

    return load
