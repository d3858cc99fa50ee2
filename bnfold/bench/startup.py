"""What it takes to start serving a model: each time a process of its own, ``python -m bnfold.bench.startup FOLDER``.

In the process that measures latency, several models share memory and the runtime is loaded already. The folder holds
``job.json`` and the inputs of one call; the child prints one JSON object.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bnfold.bench.memory import peak_resident, resident
from bnfold.bench.setting import Mode, Setting
from bnfold.errors import AttestationError, BnfoldError, InputError
from bnfold.verify.isolation import read_arrays, write_arrays
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import onnxruntime_module, open_session
from bnfold.verify.samples import Arrays


@dataclass(frozen=True)
class Start:
    """One start of one model.

    Attributes:
        load: seconds from the file to a session that is ready; the runtime's own import is not counted.
        first_call: seconds of the first call, in which the runtime plans its memory.
        memory: bytes at the peak of loading and of the first call, above what the process held before, with the
            runtime loaded; None where the system does not tell. A device's own memory is not in it.
    """

    load: float
    first_call: float
    memory: int | None


def start(path: Path, inputs: Arrays, setting: Setting, mode: Mode) -> Start:
    """Load a model and call it once, in a process of its own.

    Raises:
        InputError: the model cannot be loaded, or the process did not come to its end.
        AttestationError: the provider cannot be loaded here.
    """
    with tempfile.TemporaryDirectory(prefix="bnfold-start-") as name:
        folder = Path(name)
        job = {"model": str(path.absolute()), **asdict(setting), "tf32": mode.tf32}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        write_arrays(folder / "inputs.npz", inputs)
        command = [
            sys.executable,
            "-P",
            "-m",
            "bnfold.bench.startup",
            str(folder),
        ]  # -P: no module of the user's folder
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603  (our own interpreter and module)
    if done.returncode:
        raise InputError(f"{path}: the process that was to load it {_ended(done)}.")
    result = json.loads(done.stdout)
    if result["error"] is not None:
        raise (AttestationError if result["error"] == "attestation" else InputError)(result["message"])
    return Start(result["load"], result["first_call"], result["memory"])


def main(folder: Path) -> None:
    """Be the child."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    try:
        result = {"error": None, **asdict(_measured(job, read_arrays(folder / "inputs.npz")))}
    except BnfoldError as error:
        kind = "attestation" if isinstance(error, AttestationError) else "input"
        result = {"error": kind, "message": str(error)}
    sys.stdout.write(json.dumps(result))


def _measured(job: dict[str, Any], inputs: Arrays) -> Start:
    onnxruntime_module()
    before, begin = resident(), time.perf_counter()
    with open_session(
        Path(job["model"]), Provider(job["provider"]), optimized=True, tf32=job["tf32"], threads=job["threads"]
    ) as session:
        loaded = time.perf_counter()
        session.run(inputs)
        called = time.perf_counter()
        peak = peak_resident()
    memory = None if before is None or peak is None else peak - before
    return Start(loaded - begin, called - loaded, memory)


def _ended(done: "subprocess.CompletedProcess[bytes]") -> str:
    last = " ".join(done.stderr.decode(errors="replace").strip().splitlines()[-1:])
    how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
    return f"{how}: {last}" if last else how


if __name__ == "__main__":
    main(Path(sys.argv[1]))
