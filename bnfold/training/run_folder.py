"""A run folder while training writes it: begun, taken up again, added to, finished."""

import dataclasses
import json
import shutil
from pathlib import Path

from bnfold.errors import InputError
from bnfold.files import atomic_directory, atomic_file
from bnfold.training import checkpoint
from bnfold.training.best import Monitor
from bnfold.training.hyperparameters import Keep
from bnfold.training.record import FILE, Measurement, Record, read_record, write_record
from bnfold.training.resume import require_same
from bnfold.training.run import BEST, CHECKPOINT, METRICS, MODEL, require_run_output
from bnfold.training.session import Session
from bnfold.training.tensors import read_tensors, write_tensors


def require_startable(folder: Path, *, resume: bool, force: bool) -> None:
    """Check, before any work, that training may begin or go on in ``folder``.

    Raises:
        InputError: it holds a run that is neither resumed nor given up, something else, or cannot be written.
    """
    if resume and force:
        raise InputError(f"{folder}: resume goes on with the run that is there, force gives it up: choose one.")
    if holds_run(folder) and resume:
        read_record(folder)
        return
    if holds_run(folder) and not force:
        raise InputError(
            f"{folder}: holds a run; go on with --resume, replace it with --force, or choose another name."
        )
    require_run_output(folder, force=force)


def holds_run(folder: Path) -> bool:
    """Return whether a run was begun in ``folder``."""
    return (folder / FILE).is_file()


def begin(folder: Path, record: Record) -> None:
    """Make the folder of a new run; what a run before it left is gone."""
    with atomic_directory(folder) as new:
        write_record(new / FILE, record)
        (new / METRICS).touch()


def take_up(folder: Path, record: Record, session: Session, monitor: Monitor) -> None:
    """Bring ``session``, made anew, to the last checkpoint in ``folder``, and the files there to the same moment.

    Raises:
        InputError: the run was made with something else, or its checkpoint is damaged.
    """
    old = read_record(folder)
    require_same(folder, old, record)
    path = folder / CHECKPOINT
    if path.exists():
        checkpoint.restore(path, session)
    elif old.get("finished"):
        raise InputError(f"{folder}: finished, and without {CHECKPOINT} there is nothing to go on from.")
    session.replicas.wait()  # until all have read
    if not session.replicas.is_first:
        return
    _remove_torn(folder)
    if session.step < record["steps"] and not monitor.gives_up(session.history):
        write_record(folder / FILE, {**record, "started": old.get("started")})  # not finished any more, if it was
    with atomic_file(folder / METRICS) as temporary:
        temporary.write_text("".join(map(_line, session.history)), encoding="utf-8")
    keep_best(folder, session, monitor)


def keep_best(folder: Path, session: Session, monitor: Monitor) -> None:
    """Write the weights aside if the session stands at its best measurement; a checkpoint of it has to be there.

    In this order no kill loses them: a checkpoint at the best measurement has its weights, and as long as there is no
    later checkpoint nothing replaces the ones written before.
    """
    if not session.history or session.history[monitor.best(session.history)].step != session.step:
        return
    path = folder / BEST
    if path.exists() and read_tensors(path)[1].get("step") == str(session.step):
        return
    write_tensors(path, session.model.state_dict(), {"format": "pt", "step": str(session.step)})


def append_metrics(folder: Path, measurement: Measurement) -> None:
    """Add a line to ``metrics.jsonl``; the checkpoint holds it too, and `take_up` goes by that."""
    path = folder / METRICS
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(measurement))
    except OSError as error:
        raise InputError(f"{path}: could not be written: {error.strerror or error}.") from error


def finish(folder: Path, record: Record, session: Session, monitor: Monitor) -> None:
    """Write the weights that are kept, and last of all that the run is finished."""
    kept, weights = session.history[-1], session.model.state_dict()
    if record["hyperparameters"]["keep"] == Keep.BEST:
        kept = session.history[monitor.best(session.history)]
        weights = read_tensors(folder / BEST)[0]
    write_tensors(folder / MODEL, weights, {"format": "pt"})
    write_record(folder / FILE, {**record, "finished": True, "metrics": dataclasses.asdict(kept)})


def _line(measurement: Measurement) -> str:
    return json.dumps(dataclasses.asdict(measurement)) + "\n"


def _remove_torn(folder: Path) -> None:
    """Remove what a killed process was about to move into place (`bnfold.files.atomic_file`)."""
    for name in (FILE, MODEL, BEST, CHECKPOINT, METRICS):
        for torn in folder.glob(f".{name}.*"):
            shutil.rmtree(torn, ignore_errors=True)
