"""One configuration, one process: the candidate runs in a child, ``python -m bnfold.verify.isolation FOLDER``.

What a device's libraries set or break stays in the child, and a crash there is a sentence here. The folder holds
``job.json`` and one archive of inputs a batch; the child writes a line on stdout for each batch that is done, adds one
archive of outputs for each, and ``result.json``.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bnfold.errors import AttestationError, BnfoldError, InputError
from bnfold.progress import Progress
from bnfold.verify.bfloat16 import BFLOAT16
from bnfold.verify.configuration import Configuration
from bnfold.verify.environment import device
from bnfold.verify.placement import PlacedNode, Placement
from bnfold.verify.provider import Provider
from bnfold.verify.run import Run, run_here
from bnfold.verify.samples import Arrays

_LAST_LINES = 3
"""Of what a crashed child wrote on stderr, so many lines make the message."""


def run_apart(
    path: Path, configuration: Configuration, batches: Sequence[Arrays], progress: Progress, description: str
) -> Run:
    """Do what `run_here` does in a process of its own.

    Raises:
        AttestationError: the provider cannot be loaded, fails, or takes the process down.
        InputError: ONNX Runtime does not accept the model.
    """
    with tempfile.TemporaryDirectory(prefix="bnfold-run-") as name:
        folder = Path(name)
        job = {"model": str(path.absolute()), **asdict(configuration), "batches": len(batches)}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        for index, batch in enumerate(batches):
            write_arrays(folder / f"inputs{index}.npz", batch)
        code, told = _run_child(folder, len(batches), progress, description)
        if not (folder / "result.json").is_file():
            raise AttestationError(
                f"--provider {configuration.provider}: the process of its own ended with {code}{told}."
            )
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if result["error"] is not None:
            raise (AttestationError if result["error"] == "attestation" else InputError)(result["message"])
        outputs = [read_arrays(folder / f"outputs{index}.npz") for index in range(result["done"])]
    return Run(tuple(outputs), _placement(result["placement"]), result["failure"], result["device"])


def command(folder: Path) -> list[str]:
    """Return the command line of the child."""
    return [sys.executable, "-P", "-m", "bnfold.verify.isolation", str(folder)]  # -P: no module of the user's folder


def _run_child(folder: Path, batches: int, progress: Progress, description: str) -> tuple[str, str]:
    """Run the child; return how it ended, in words, and the end of what it complained about."""
    errors = folder / "stderr.txt"
    with (
        errors.open("wb") as complaints,
        subprocess.Popen(command(folder), stdout=subprocess.PIPE, stderr=complaints, stdin=subprocess.DEVNULL) as child,  # noqa: S603  (our own interpreter and module)
    ):
        assert child.stdout is not None
        try:
            for _ in progress(child.stdout, description=description, total=batches):
                pass
        except BaseException:
            child.kill()
            raise
        code = child.wait()
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return ended, ": " + " ".join(" ".join(lines).split()) if lines else ""


def main(folder: Path) -> None:
    """Be the child."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    configuration = Configuration(Provider(job["provider"]), job["tf32"])
    result: dict[str, Any] = {"error": None, "message": "", "done": 0, "placement": None, "failure": None, "device": {}}
    batches = [read_arrays(folder / f"inputs{index}.npz") for index in range(job["batches"])]
    try:
        run = run_here(Path(job["model"]), configuration, batches, _lines)
        for index, outputs in enumerate(run.batches):
            write_arrays(folder / f"outputs{index}.npz", outputs)
        result |= {"done": len(run.batches), "placement": asdict(run.placement), "failure": run.failure}
        result["device"] = device()
    except BnfoldError as error:
        kind = "attestation" if isinstance(error, AttestationError) else "input"
        result |= {"error": kind, "message": str(error)}
    # Written last, and at once: where it is missing, the child did not come to its end.
    (folder / "result.tmp").write_text(json.dumps(result), encoding="utf-8")
    (folder / "result.tmp").rename(folder / "result.json")


def _lines(items: Any, *, description: str, total: int | None = None, samples: Any = None) -> Iterator[Any]:  # noqa: ARG001  (the protocol's names)
    for item in items:
        yield item
        sys.stdout.write("\n")
        sys.stdout.flush()


def _placement(data: dict[str, Any]) -> Placement:
    assigned, executed = (
        tuple(PlacedNode(node["name"], node["op_type"], node["provider"], tuple(node["outputs"])) for node in data[key])
        for key in ("assigned", "executed")
    )
    return Placement(tuple(data["providers"]), data["options"], assigned, executed)


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays by name; NumPy's format has no bfloat16, which goes as its bits."""
    names = [[name, array.dtype == BFLOAT16] for name, array in arrays.items()]
    # Arrays without names of their own are arr_0, arr_1, …: names of values may hold what paths cannot.
    np.savez(path, *map(_bits, arrays.values()), names=np.frombuffer(json.dumps(names).encode(), np.uint8))


def _bits(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    return array.view(np.uint16) if array.dtype == BFLOAT16 else array


def read_arrays(path: Path) -> dict[str, "np.ndarray[Any, Any]"]:
    """Return what `write_arrays` has written."""
    with np.load(path, allow_pickle=False) as archive:
        names = json.loads(archive["names"].tobytes())
        arrays = [archive[f"arr_{index}"] for index in range(len(names))]
    pairs = zip(names, arrays, strict=True)
    return {name: array.view(BFLOAT16) if bits else array for (name, bits), array in pairs}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
