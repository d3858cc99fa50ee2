"""``bnfold doctor``: what is installed, what clashes, and what really runs, each tried in a process of its own."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bnfold.progress import Progress, silent
from bnfold_cli.versions import installed_version

BASE = ("bnfold", "numpy", "onnx", "onnx-ir", "onnxscript", "safetensors", "typer", "rich")
TRAINING = ("torch", "scikit-learn")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Both install the module ``onnxruntime``, and the later one overwrites the files of the earlier."""

PROVIDERS = ("cpu", "cuda", "tensorrt")
TRIALS = ("torch", "driver", *PROVIDERS)
TRIAL_SECONDS = 120
"""A first session on a GPU may compile kernels for minutes, but a trial that never ends is a failure as well."""

UNUSABLE = 3


@dataclass(frozen=True)
class Trial:
    """Whether something works when it is used, and what it said."""

    name: str
    works: bool
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """The state of an installation.

    Attributes:
        python: version, implementation and platform.
        distributions: version of each distribution, None where it is absent.
        trials: what was tried.
        findings: what to do about it; empty where all is well.
    """

    python: str
    distributions: Mapping[str, str | None]
    trials: tuple[Trial, ...]
    findings: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether at least one provider of ONNX Runtime runs."""
        return any(trial.works for trial in self.trials if trial.name in PROVIDERS)

    @property
    def exit_code(self) -> int:
        """0 if anything can be verified here, else 3."""
        return 0 if self.usable else UNUSABLE

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {**asdict(self), "usable": self.usable}


def examine(progress: Progress = silent) -> Diagnosis:
    """Look at everything that a command may need."""
    distributions = {name: installed_version(name) for name in (*BASE, *TRAINING, *RUNTIMES)}
    trials = tuple(attempt(name) for name in progress(TRIALS, description="trying"))
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    return Diagnosis(python, distributions, trials, tuple(findings(distributions, trials)))


def attempt(name: str, program: Sequence[str] = (sys.executable, "-m", "bnfold_cli.work.trials")) -> Trial:
    """Try one thing in a new process, where it may crash or hang."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603  (our own interpreter and module)
            [*program, name], capture_output=True, text=True, env=environment, timeout=TRIAL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Trial(name, works=False, detail=f"did not answer within {TRIAL_SECONDS} s")
    return _read(name, done)


def findings(distributions: Mapping[str, str | None], trials: tuple[Trial, ...]) -> list[str]:
    """Return what a user should do, most pressing first."""
    found: list[str] = []
    runtimes = [name for name in RUNTIMES if distributions[name]]
    if len(runtimes) > 1:
        found.append(
            f"{' and '.join(runtimes)} are both installed and overwrite each other: pip uninstall both, install one."
        )
    if not runtimes:
        found.append("ONNX Runtime is missing, verify needs it: pip install 'bnfold[cpu]' or 'bnfold[gpu]'.")
    if not distributions["torch"]:
        found.append("torch is missing, train, calibrate and run folders need it: pip install 'bnfold[train]'.")
    works = {trial.name: trial.works for trial in trials}
    if works["driver"] and runtimes == ["onnxruntime"]:
        found.append("There is a GPU, but ONNX Runtime is the CPU build: pip uninstall it, then install 'bnfold[gpu]'.")
    if works["driver"] and "onnxruntime-gpu" in runtimes and not works["cuda"]:
        found.append(
            "There is a GPU, but CUDA does not load (see above): pip install 'bnfold[cuda]' brings its libraries."
        )
    return found


def _read(name: str, done: subprocess.CompletedProcess[str]) -> Trial:
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        said = done.stderr.strip().splitlines() or [f"ended with {done.returncode} and said nothing"]
        return Trial(name, works=False, detail=f"crashed ({done.returncode}): {said[-1]}")
    return Trial(name, works=bool(answer["works"]), detail=str(answer["detail"]))
