"""``bnfold calibrate --undo``: the statistics that a run had before it was calibrated."""

from dataclasses import dataclass
from pathlib import Path

from bnfold.errors import InputError
from bnfold_cli.work.calibrate_run import BEFORE
from bnfold_cli.work.sources import open_run


@dataclass(frozen=True)
class Undone:
    """A run with the statistics that it had before.

    Attributes:
        source: the calibrated run.
        output: the run that was written, ``source`` itself where nothing else was asked for.
        tensors: names of the tensors that were put back.
    """

    source: Path
    output: Path
    tensors: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {"source": str(self.source), "run": str(self.output), "restored": list(self.tensors)}


def undo(source: Path, output: Path | None, *, force: bool = False) -> Undone:
    """Put back the statistics that the calibration of ``source`` replaced; no code of the run's is run.

    Args:
        source: a run that ``bnfold calibrate`` has written.
        output: where to; None to replace ``source``.
        force: replace a run that is at ``output``.

    Raises:
        InputError: ``source`` is an ONNX file, or no calibrated run; or the output is in the way.
        MissingDependencyError: torch is not installed.
    """
    if source.is_file():
        raise InputError(f"{source}: an ONNX file keeps no older statistics; use the file that it was made from.")
    run = open_run(source)
    from bnfold.training import write_run
    from bnfold.training.run import MODEL, require_run_output
    from bnfold.training.tensors import read_tensors

    target = source if output is None else output
    require_run_output(target, force=force or output is None)
    if not (source / BEFORE).is_file():
        raise InputError(f"{source}: has no {BEFORE}; it was not calibrated, or its calibration was undone already.")
    old, _ = read_tensors(source / BEFORE)
    weights, _ = read_tensors(source / MODEL)
    foreign = [name for name, tensor in old.items() if name not in weights or weights[name].shape != tensor.shape]
    if foreign:
        raise InputError(f"{source / BEFORE}: {foreign[0]} is not a tensor of {MODEL}; the run is damaged.")
    record = dict(run.record)
    calibration = record.pop("calibration", None) or {}
    if calibration.get("before"):
        record["calibration"] = calibration["before"]
    write_run(target, record, {**weights, **old}, force=True)
    return Undone(source, target, tuple(sorted(old)))
