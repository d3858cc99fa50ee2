"""Training: a plain loop that can be killed at any moment and goes on as if it had not been."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bnfold.data.dataset import Dataset
from bnfold.data.load import load_data
from bnfold.data.split import Split
from bnfold.errors import BnfoldError, InputError
from bnfold.progress import Progress, silent
from bnfold.training import checkpoint, random_state, run_folder
from bnfold.training.evaluation import evaluate
from bnfold.training.forward import require_fit, require_trainable
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.models import ModelSource
from bnfold.training.order import batches_between, steps_per_epoch
from bnfold.training.record import make_record
from bnfold.training.run import CHECKPOINT, Run
from bnfold.training.schedules import Position, learning_rate
from bnfold.training.session import Measurement, Session, choose_device, make_optimizer

Listener = Callable[[Measurement], None]


@dataclass(frozen=True)
class TrainResult:
    """What a finished training gives back; the weights are in the folder, `bnfold.training.Run` opens it.

    Attributes:
        folder: the run folder.
        steps: updates in all.
        resumed_from: the step at which this call took over; None if it began the run.
        history: all measurements, the last one of the final weights.
    """

    folder: Path
    steps: int
    resumed_from: int | None
    history: tuple[Measurement, ...]

    @property
    def final(self) -> Measurement:
        """The measurement of the final weights."""
        return self.history[-1]


@dataclass(frozen=True)
class _Plan:
    """What does not change while training."""

    settings: Hyperparameters
    train_set: Dataset
    test_set: Dataset
    folder: Path
    checkpoint_every: int | None
    per_epoch: int
    total: int

    def ends_epoch(self, step: int) -> bool:
        return step % self.per_epoch == 0 or step == self.total

    def wants_checkpoint(self, step: int) -> bool:
        return self.checkpoint_every is not None and step % self.checkpoint_every == 0


def train(
    source: ModelSource,
    data_spec: str,
    hyperparameters: Hyperparameters,
    folder: Path,
    *,
    resume: bool = False,
    force: bool = False,
    checkpoint_every: int | None = None,
    progress: Progress = silent,
    listener: Listener | None = None,
) -> TrainResult:
    """Train a network with cross-entropy and leave a run folder (`bnfold.training.run`).

    The state is written at the end of every epoch, and every ``checkpoint_every`` steps. Killed at any moment, with
    ``resume`` and the same arguments it ends, on the CPU and with as many threads, with the same weights bit by bit as
    if it had not been; where there is no checkpoint or no folder yet, it begins. A finished run comes back at once, or
    goes on if ``epochs`` or ``steps`` has grown (not with the cosine schedule, whose rates depend on the end). The
    caller's random states are left alone.

    Args:
        source: the network.
        data_spec: what `bnfold.data.load_data` takes; every epoch ends with a measurement on its test split.
        hyperparameters: the settings.
        folder: where the run is written.
        resume: go on with the run that is there.
        force: give up the run that is there and begin anew.
        checkpoint_every: steps between further checkpoints; without influence on the result.
        progress: told of every step.
        listener: told of every measurement.

    Raises:
        InputError: anything that does not fit, found before the folder is touched.
        BnfoldError: the loss is no longer finite; the last checkpoint stays.
    """
    run_folder.require_startable(folder, resume=resume, force=force)
    plan = _make_plan(data_spec, hyperparameters, folder, checkpoint_every)
    splits = {Split.TRAIN: plan.train_set, Split.TEST: plan.test_set}
    with random_state.isolated(hyperparameters.seed):
        session = _make_session(source, plan)
        record = make_record(source, data_spec, hyperparameters, splits, plan.total)
        resumed_from = None
        if resume and run_folder.holds_run(folder):
            run_folder.take_up(folder, record, session)
            resumed_from = session.step
        else:
            run_folder.begin(folder, record)
        _take_steps(session, plan, progress, listener)
    if not Run.open(folder).finished:
        run_folder.finish(folder, record, session)
    return TrainResult(folder, session.step, resumed_from, tuple(session.history))


def _make_plan(data_spec: str, settings: Hyperparameters, folder: Path, checkpoint_every: int | None) -> _Plan:
    if checkpoint_every is not None and checkpoint_every < 1:
        raise InputError(f"checkpoint-every: expected at least 1 step, found {checkpoint_every}.")
    train_set, test_set = load_data(data_spec, Split.TRAIN), load_data(data_spec, Split.TEST)
    per_epoch = steps_per_epoch(train_set, settings.batch_size)
    total = settings.steps or per_epoch * (settings.epochs or 0)  # the settings hold one of the two
    return _Plan(settings, train_set, test_set, folder, checkpoint_every, per_epoch, total)


def _make_session(source: ModelSource, plan: _Plan) -> Session:
    """Build the network and check it against all the data, so that what can go wrong does so now."""
    model = source.build().to(choose_device(plan.settings.device)).train()
    for dataset in (plan.train_set, plan.test_set):
        require_fit(model, dataset)
    require_trainable(model, plan.train_set.select(slice(plan.settings.batch_size)))
    return Session(model, make_optimizer(model, plan.settings))


def _take_steps(session: Session, plan: _Plan, progress: Progress, listener: Listener | None) -> None:
    """Take the steps that are left."""
    settings, start = plan.settings, session.step
    started = time.monotonic() - session.seconds
    batches = batches_between(plan.train_set, settings.batch_size, settings.seed, start=start, stop=plan.total)
    for batch in progress(batches, description="Training", total=plan.total - start):
        rate = learning_rate(settings, Position(session.step, plan.per_epoch, plan.total))
        _require_finite(session.update(batch, rate), "loss", session, plan)
        ends = plan.ends_epoch(session.step)
        if ends:
            _measure(session, plan, rate, started)
        if ends or plan.wants_checkpoint(session.step):
            checkpoint.save(plan.folder / CHECKPOINT, session, seconds=time.monotonic() - started)
        if ends and listener is not None:
            listener(session.history[-1])


def _measure(session: Session, plan: _Plan, rate: float, started: float) -> None:
    metrics = evaluate(session.model, plan.test_set, plan.settings.batch_size)
    _require_finite(metrics.loss, "test loss", session, plan)
    measurement = Measurement(
        step=session.step,
        epoch=session.step / plan.per_epoch,
        learning_rate=rate,
        train_loss=session.take_mean_loss(),
        test_loss=metrics.loss,
        test_accuracy=metrics.accuracy,
        seconds=time.monotonic() - started,
    )
    session.history.append(measurement)
    run_folder.append_metrics(plan.folder, measurement)


def _require_finite(loss: float, name: str, session: Session, plan: _Plan) -> None:
    if math.isfinite(loss):
        return
    kept = "none was written yet" if session.saved_step is None else f"that of step {session.saved_step} is kept"
    raise BnfoldError(
        f"{plan.folder}: the {name} is {loss} after step {session.step}: training diverged; checkpoint: {kept}; "
        f"begin anew with a learning-rate below {plan.settings.learning_rate:g}."
    )
