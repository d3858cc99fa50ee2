"""``bnfold demo``: the whole chain on built-in data, by the very functions that the commands call."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.progress import Progress, silent
from bnfold_cli.work.calibrate import Calibrated, Settings, calibrate
from bnfold_cli.work.export import Exported, export
from bnfold_cli.work.files import require_folder_output, write_json
from bnfold_cli.work.fold import Folded, fold
from bnfold_cli.work.sources import load_graph, require_torch
from bnfold_cli.work.train import Trained, train
from bnfold_cli.work.verify import sample_inputs, verify

if TYPE_CHECKING:
    from bnfold.bench import LatencyReport
    from bnfold.verify import VerificationReport

MODEL = "digits-cnn"
DATA = "digits"
SUMMARY = "demo.json"
LATENCY_BATCH = 32

Note = Callable[[str], None]


@dataclass(frozen=True)
class Demo:
    """What each step of the chain came to, and where it is."""

    folder: Path
    trained: Trained
    calibrated: Calibrated
    folded: Folded
    exported: Exported
    verified: "VerificationReport"
    latency: "LatencyReport"

    @property
    def files(self) -> dict[str, Path]:
        """What was written, by what it is."""
        return {
            "trained run": self.folder / "run",
            "calibrated run": self.folder / "calibrated",
            "unfolded model": self.folder / "unfolded.onnx",
            "folded model": self.folder / "folded.onnx",
            "bundle": self.folder / "bundle",
            "summary": self.folder / SUMMARY,
        }

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data: the document of every step."""
        return {
            "verdict": self.verified.verdict.value,
            "files": {name: str(path) for name, path in self.files.items()},
            "train": self.trained.to_dict(),
            "calibrate": self.calibrated.to_dict(),
            "fold": self.folded.to_dict(),
            "export": self.exported.to_dict(),
            "verify": self.verified.to_dict(),
            "latency": self.latency.to_dict(),
        }


def demo(
    folder: Path,
    *,
    epochs: int | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Progress = silent,
    note: Note = lambda _: None,
) -> Demo:
    """Train, calibrate, fold, export and verify a small network on real digits, and compare latencies.

    Args:
        folder: where everything goes.
        epochs: of the training; None for the recipe's.
        seed: of everything that is drawn by chance.
        force: replace a demo that is there.
        progress: told of the steps within each step.
        note: told of each step as the command that would do the same.

    Raises:
        InputError: the folder is in the way.
        MissingDependencyError: torch, scikit-learn or ONNX Runtime is not installed.
    """
    require_folder_output(folder, marker=SUMMARY, kind="demo", force=force)
    require_torch("demo")
    # Written first, so that what an interrupted demo leaves can be replaced by --force.
    write_json({"finished": False}, folder / SUMMARY)
    run, calibrated_run, bundle = folder / "run", folder / "calibrated", folder / "bundle"
    folded_file, report = folder / "folded.onnx", folder / "fold.json"
    settings = {"seed": seed} | ({} if epochs is None else {"epochs": epochs})

    note(f"bnfold train {MODEL} -o {run}" + "".join(f" --{name} {value}" for name, value in settings.items()))
    trained = train(MODEL, run, settings=settings, force=force, progress=progress)
    note(f"bnfold calibrate {run} -o {calibrated_run} --seed {seed}")
    calibrated = calibrate(run, calibrated_run, settings=Settings(seed=seed), force=force, progress=progress)
    assert calibrated is not None, "one process writes what it calibrates"
    note(f"bnfold fold {calibrated_run} -o {folded_file} --report {report}")
    folded = fold(calibrated_run, folded_file, report=report, force=force)
    note(f"bnfold export {calibrated_run} -o {bundle}")
    exported = export(calibrated_run, bundle, force=force)
    note(f"bnfold verify {bundle}")
    verified = verify(bundle, progress=progress)
    unfolded_file = folder / "unfolded.onnx"
    latency = compare_latency(calibrated_run, unfolded_file, bundle / "model.onnx", progress=progress)
    result = Demo(folder, trained, calibrated, folded, exported, verified, latency)
    write_json({"finished": True, **result.to_dict()}, folder / SUMMARY)
    return result


def compare_latency(run: Path, unfolded: Path, folded: Path, *, progress: Progress = silent) -> "LatencyReport":
    """Write the graph of ``run`` as it is to ``unfolded`` and time it beside ``folded``."""
    from bnfold.bench import measure_latency
    from bnfold.graph import save

    graph, _ = load_graph(run)
    save(graph, unfolded)
    inputs = sample_inputs(graph, data=DATA, samples=LATENCY_BATCH, seed=0)
    return measure_latency({"unfolded": unfolded, "folded": folded}, inputs, progress=progress)
