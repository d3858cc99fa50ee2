"""ONNX Runtime sessions that run where they were asked to, or say why they cannot."""

import os
import re
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy.typing as npt

from bnfold.errors import AttestationError, InputError, MissingDependencyError, NoKernelError
from bnfold.verify.bfloat16 import BFLOAT16, run_with_bfloat16
from bnfold.verify.bound import BoundCall
from bnfold.verify.diagnosis import preload, what_is_missing
from bnfold.verify.placement import PlacedNode, Placement, read_profile
from bnfold.verify.provider import Provider

__all__ = ["Provider", "Session", "onnxruntime_module", "open_session"]

_FATAL = 4
"""ONNX Runtime's severity above which it logs: what goes wrong is raised or found, not logged."""


_NO_KERNEL = re.compile(
    r"Could not find an implementation for (?P<operator>\w+)\(\d+\) node with name '(?P<node>[^']*)'"
)


class Session(AbstractContextManager["Session"]):
    """One ONNX Runtime session; ``run`` as often as needed, with changing shapes.

    A recording session knows its ``placement`` after ``recorded`` runs, the first by default.
    """

    def __init__(
        self,
        session: Any,
        provider: Provider,
        profile_folder: "tempfile.TemporaryDirectory[str] | None",
        *,
        tf32: bool = False,
        recorded: int = 1,
    ) -> None:
        self.provider = provider
        self._left = recorded
        self._tf32 = tf32
        self._session: Any = session
        self._profile_folder = profile_folder
        self._records = profile_folder is not None
        self._executed: tuple[PlacedNode, ...] = ()

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return every output by name.

        Raises:
            InputError: the runtime rejects the inputs or fails in a node; the message is the runtime's.
            AttestationError: the same on another provider than the CPU, whose running again is not what was asked for.
        """
        outputs = self._session.get_outputs()
        names = [output.name for output in outputs]
        coarse = any(array.dtype == BFLOAT16 for array in inputs.values())
        with self._runtime():
            if coarse or any(output.type == "tensor(bfloat16)" for output in outputs):
                values = run_with_bfloat16(onnxruntime_module(), self._session, names, inputs)
            else:
                values = self._session.run(names, dict(inputs))
        self._left -= 1
        if self._left == 0:
            self._end_profile()
        return dict(zip(names, values, strict=True))

    def bound(self, inputs: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]]) -> BoundCall:
        """Return a call on inputs and outputs that lie in the provider's memory, at the same addresses every time.

        ``outputs`` tell shapes and types, as a run has returned them. A call raises what ``run`` does.

        Raises:
            InputError: the runtime rejects them; the message is the runtime's.
            AttestationError: the same on another provider than the CPU.
        """
        ortvalue, memory = onnxruntime_module().OrtValue, self.provider.memory
        with self._runtime():
            binding = self._session.io_binding()
            for name, array in inputs.items():
                binding.bind_ortvalue_input(name, ortvalue.ortvalue_from_numpy(array, memory, 0))
            for name, array in outputs.items():
                value = ortvalue.ortvalue_from_shape_and_type(array.shape, array.dtype, memory, 0)
                binding.bind_ortvalue_output(name, value)
            binding.synchronize_inputs()
        return BoundCall(self._session, binding, list(outputs), self._runtime)

    @property
    def placement(self) -> Placement:
        """Return where the nodes were placed and ran, as recorded so far; nothing if it does not record."""
        session = self._session
        recorded = session.get_provider_graph_assignment_info() if self._records else ()
        assigned = [PlacedNode(n.name, n.op_type, part.ep_name) for part in recorded for n in part.get_nodes()]
        return Placement(
            tuple(session.get_providers()), dict(session.get_provider_options()), tuple(assigned), self._executed
        )

    def close(self) -> None:
        """Release the session and remove what it recorded on disk."""
        self._end_profile()
        self._session = None  # frees the runtime's memory now, not when the collector comes by

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    @contextmanager
    def _runtime(self) -> Generator[None]:
        """Do what the runtime's own code does, its failures told as ours."""
        with _tf32_override("1" if self._tf32 else "0"):
            try:
                yield
            except Exception as error:  # the runtime's exceptions share no base but this
                raise _failure(self.provider, f"ONNX Runtime on {self.provider}: {_one_line(error)}") from error

    def _end_profile(self) -> None:
        if self._profile_folder is not None:
            self._executed = read_profile(Path(self._session.end_profiling()))
            self._profile_folder.cleanup()
            self._profile_folder = None


def open_session(
    model: Path | bytes,
    provider: Provider = Provider.CPU,
    *,
    optimized: bool,
    record: bool = False,
    recorded: int = 1,
    tf32: bool = False,
    threads: int | None = None,
    cuda_graph: bool = False,
    fused: Path | None = None,
) -> Session:
    """Open ``model`` on ``provider``, with the runtime's graph optimizations all on or all off.

    ``record`` keeps the placement of every node during the first ``recorded`` runs; such a session is closed by
    ``with`` or by ``close``. ``tf32`` lets the provider round operands to TF32, which it may not otherwise.
    ``threads`` are those that one operator's work is divided among; None leaves their number to the runtime.
    ``cuda_graph`` needs a `Session.bound` call. ``fused`` is where the runtime writes the optimized graph, with weights
    beside it; it is then optimized as far as every processor can run it.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be loaded here; says what is missing.
        NoKernelError: it has no implementation of an operator in its type, on the CPU too.
        InputError: the runtime does not accept the model; the message is the runtime's.
    """
    onnxruntime = onnxruntime_module()
    if provider is not Provider.CPU:
        preload(onnxruntime)
    folder = tempfile.TemporaryDirectory(prefix="bnfold-profile-") if record else None
    try:
        options = _session_options(onnxruntime, optimized=optimized, profile_folder=folder and folder.name, fused=fused)
        if threads is not None:
            options.intra_op_num_threads = threads
        asked = provider.options(tf32=tf32, cuda_graph=cuda_graph)
        session = _construct(onnxruntime, model, provider, options, asked, tf32=tf32)
        _check_provider(onnxruntime, session, provider)
    except BaseException:
        if folder is not None:
            folder.cleanup()
        raise
    return Session(session, provider, folder, tf32=tf32, recorded=recorded)


def onnxruntime_module() -> ModuleType:
    """Return the module ``onnxruntime``, imported now and made silent.

    Raises:
        MissingDependencyError: it is not installed, cannot be imported (a library that it is linked to is missing, or
            NumPy is another one than it was built for), or not whole: two distributions overwrite each other's files.
    """
    try:
        import onnxruntime  # here, since it is heavy, and not installed where only folding is wanted
    except ModuleNotFoundError as error:
        if error.name == "onnxruntime":
            raise MissingDependencyError(
                "ONNX Runtime is not installed: pip install 'bnfold[gpu]' (runs without a GPU too) or 'bnfold[cpu]'."
            ) from error
        raise _broken_import(error) from error
    except Exception as error:  # extension modules raise what they like
        raise _broken_import(error) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        remedy = "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'bnfold[gpu]' or 'bnfold[cpu]'"
        raise MissingDependencyError(f"ONNX Runtime is broken, as if only parts of it were installed: {remedy}.")
    onnxruntime.set_default_logger_severity(_FATAL)
    return onnxruntime


def _broken_import(error: Exception) -> MissingDependencyError:
    found = f"{type(error).__name__}: {_one_line(error)}" if str(error) else type(error).__name__
    remedy = (
        "bnfold doctor shows versions; pip install --force-reinstall 'bnfold[gpu]' or 'bnfold[cpu]' gets whole ones"
    )
    return MissingDependencyError(f"ONNX Runtime is installed and cannot be imported: {found} ({remedy}).")


def _construct(
    onnxruntime: ModuleType,
    model: Path | bytes,
    provider: Provider,
    options: Any,
    providers: list[tuple[str, dict[str, str]]],
    *,
    tf32: bool,
) -> Any:
    source = model if isinstance(model, bytes) else str(model)
    with _tf32_override("1" if tf32 else "0"):
        try:
            session = onnxruntime.InferenceSession(source, options, providers=providers, enable_fallback=0)
        except Exception as error:  # the runtime's exceptions share no base but this
            missing = what_is_missing(onnxruntime, provider)
            if missing:
                raise _not_attested(provider, missing) from error
            name = "the model" if isinstance(model, bytes) else model
            lacking = _NO_KERNEL.search(str(error))
            if lacking is not None:
                operator = lacking["operator"]
                raise NoKernelError(f"{name}: {_no_kernel(provider, operator, lacking['node'])}", operator) from error
            message = f"{name}: ONNX Runtime on {provider} cannot load it: {_one_line(error)}"
            raise _failure(provider, message) from error
    session.disable_fallback()
    return session


def _check_provider(onnxruntime: ModuleType, session: Any, provider: Provider) -> None:
    """Raise if the session came up, silently, for another provider than the one that was asked for."""
    found = session.get_providers()
    if not found or found[0] != provider.runtime_name:
        fallback = f"the session fell back to {', '.join(found) or 'no provider'}"
        missing = what_is_missing(onnxruntime, provider) or ("bnfold doctor tries what it needs, one by one",)
        raise _not_attested(provider, [fallback, *missing])


def _session_options(
    onnxruntime: ModuleType, *, optimized: bool, profile_folder: str | None, fused: Path | None
) -> Any:
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.log_severity_level = _FATAL
    # Threads that spin for more work after a run would take the cores from whatever session is run next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile_folder is not None:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(profile_folder) / "profile")
    if fused is not None:
        options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED  # the next one lays weights out for one processor
        options.optimized_model_filepath = str(fused)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{fused.name}.data"
        )
    return options


@contextmanager
def _tf32_override(setting: str) -> Generator[None]:
    """Let NVIDIA's libraries use TF32 ("1") or keep them from it ("0") while they are loaded, built and run.

    The CUDA provider has an option for it; TensorRT's has none, and listens to this variable.
    """
    name = "NVIDIA_TF32_OVERRIDE"
    before = os.environ.get(name)
    os.environ[name] = setting
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _not_attested(provider: Provider, missing: Sequence[str]) -> AttestationError:
    return AttestationError(f"--provider {provider}: nothing ran there: {'; '.join(missing)}.")


def _no_kernel(provider: Provider, operator: str, node: str) -> str:
    where = f" of node {node}" if node else ""
    ways = "run it on a provider that has (--provider), or store it in float32 (bnfold export --precision float32)"
    return f"ONNX Runtime on {provider} has no {operator} in the type{where}: {ways}."


def _failure(provider: Provider, message: str) -> InputError | AttestationError:
    return InputError(message) if provider is Provider.CPU else AttestationError(message)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
