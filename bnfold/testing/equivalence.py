"""`assert_equivalent`: `bnfold verify` as an assertion."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bnfold.testing.message import failure_message

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from bnfold.verify import VerificationReport

Model: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | ir.Model"
"""An ONNX file, or a model in memory."""

SAMPLES = 64
"""Random samples where there are no inputs."""


class NotEquivalentError(AssertionError):
    """The two are not the same function, or it could not be told.

    Attributes:
        report: all that was found; ``report.verdict`` tells which.
    """

    def __init__(self, message: str, report: "VerificationReport") -> None:
        super().__init__(message)
        self.report = report


def assert_equivalent(
    onnx_a: Model,
    onnx_b: Model,
    *,
    inputs: Mapping[str, Any] | None = None,
    provider: str = "cpu",
    samples: int = SAMPLES,
    seed: int = 0,
) -> "VerificationReport":
    """Assert that ``onnx_b`` computes what ``onnx_a`` does, where it will be served, and return the report.

    The judge is a float64 evaluation of ``onnx_a`` outside the runtime; the tolerance is derived, not given.

    Args:
        onnx_a: The model that says what is right: a file, or a model in memory.
        onnx_b: The model that is to be the same function.
        inputs: Samples by input name, along the leading axis, ``(N, ...)``; standard-normal ones by default.
        provider: Where ``onnx_b`` runs: ``cpu``, ``cuda`` or ``tensorrt``.
        samples: Number of random samples.
        seed: Of the random samples.

    Raises:
        NotEquivalentError: they differ, the work did not run on ``provider``, or the inputs cannot show a difference.
        MissingDependencyError: ONNX Runtime is not installed; the message says what to install.
        AttestationError: the provider cannot be loaded here; the message says what is missing.
        TypeError: a model is neither a path nor a model.
        InputError: a model cannot be read, the two are not comparable, or the inputs do not fit.
    """
    __tracebackhide__ = True
    from bnfold.errors import InputError
    from bnfold.graph import load
    from bnfold.verify import Provider, Verdict, random_inputs, verify
    from bnfold.verify.edge_cases import edge_cases
    from bnfold.verify.runtime import onnxruntime_module

    if provider not in list(Provider):
        raise InputError(f"provider {provider!r}: expected one of {', '.join(Provider)}.")
    onnxruntime_module()  # before any work: raises where ONNX Runtime is not installed
    with tempfile.TemporaryDirectory(prefix="bnfold-testing-") as folder:
        ours, theirs = _file_of(onnx_a, Path(folder), "onnx_a"), _file_of(onnx_b, Path(folder), "onnx_b")
        data, edges = inputs, None
        if data is None:
            # As on the command line: only where values are drawn are the edges drawn as well.
            data, edges = random_inputs(load(ours), samples, seed), edge_cases(load(ours), {}, seed)
        report = verify(ours, theirs, data, provider=Provider(provider), edges=edges)
    if report.verdict is not Verdict.EQUIVALENT:
        names = {"original": _named(onnx_a, "onnx_a"), "candidate": _named(onnx_b, "onnx_b")}
        command = _command(onnx_a, onnx_b, provider, None if inputs is not None else (samples, seed))
        raise NotEquivalentError(failure_message(report.to_dict(), names, command), report)
    return report


def _file_of(model: object, folder: Path, role: str) -> Path:
    """Return the model's file; one in memory is written to ``folder``, under its role."""
    if isinstance(model, str | os.PathLike):
        return Path(model)
    import onnx
    import onnx_ir as ir

    path = folder / f"{role}.onnx"
    if isinstance(model, ir.Model):
        ir.save(model, path)
    elif isinstance(model, onnx.ModelProto):
        onnx.save(model, path)
    else:
        raise TypeError(
            f"{role}: expected a path, an onnx.ModelProto or an onnx_ir.Model, found {type(model).__name__}."
        )
    return path


def _named(model: Model, role: str) -> str:
    return os.fspath(model) if isinstance(model, str | os.PathLike) else f"{role} (in memory)"


def _command(a: Model, b: Model, provider: str, drawn: tuple[int, int] | None) -> str | None:
    """Return the command line that does the same, where there is one: files, and inputs that it would draw alike."""
    if drawn is None or not (isinstance(a, str | os.PathLike) and isinstance(b, str | os.PathLike)):
        return None
    import shlex

    parts = ["bnfold", "verify", os.fspath(a), os.fspath(b), "--provider", provider]
    return shlex.join([*parts, "--samples", str(drawn[0]), "--seed", str(drawn[1]), "--report", "verify.html"])
