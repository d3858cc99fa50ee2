"""Training: a plain loop that can be killed at any moment and goes on as if it had not been."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bnfold.data.augment import parse_augmentations, require_images
from bnfold.data.dataset import Dataset
from bnfold.data.load import load_data
from bnfold.data.split import Split
from bnfold.errors import BnfoldError, InputError
from bnfold.progress import Progress, silent
from bnfold.training import checkpoint, random_state, run_folder
from bnfold.training.best import Monitor, make_monitor
from bnfold.training.determinism import deterministic
from bnfold.training.evaluation import evaluate, evaluate_population
from bnfold.training.forward import require_fit, require_trainable
from bnfold.training.functions import absolute_function
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.interruption import InterruptedTrainingError, interruptions
from bnfold.training.losses import Loss, resolve_loss
from bnfold.training.metrics import Metric, WholeMetric, resolve_metrics
from bnfold.training.models import ModelSource
from bnfold.training.network import choose_device, make_session
from bnfold.training.order import steps_per_epoch
from bnfold.training.record import Measurement, make_record
from bnfold.training.replicas import Replicas, joined
from bnfold.training.run import CHECKPOINT, Run
from bnfold.training.schedules import Position, learning_rate
from bnfold.training.session import Session
from bnfold.training.shares import require_shares, shares_between
from bnfold.training.stopwatch import Stopwatch
from bnfold.training.tensorboard import Board, board, require_tensorboard

Listener = Callable[[Measurement], None]


@dataclass(frozen=True)
class TrainResult:
    """What a finished training gives back; the weights are in the folder, `bnfold.training.Run` opens it.

    Attributes:
        folder: the run folder.
        steps: updates in all.
        resumed_from: the step at which this call took over; None if it began the run.
        history: all measurements.
        best: the place of the best one.
        stopped_early: whether patience ended the training.
    """

    folder: Path
    steps: int
    resumed_from: int | None
    history: tuple[Measurement, ...]
    best: int
    stopped_early: bool = False

    @property
    def final(self) -> Measurement:
        """The last measurement."""
        return self.history[-1]


@dataclass(frozen=True)
class _Plan:
    """What does not change while training."""

    settings: Hyperparameters
    loss: Loss
    metrics: Mapping[str, Metric]
    monitor: Monitor
    train_set: Dataset
    test_set: Dataset
    folder: Path
    checkpoint_every: int | None
    per_epoch: int
    total: int

    def wants_measurement(self, step: int) -> bool:
        return step % (self.settings.evaluate_every or self.per_epoch) == 0 or step == self.total

    def wants_checkpoint(self, step: int) -> bool:
        return self.checkpoint_every is not None and step % self.checkpoint_every == 0

    def functions(self) -> dict[str, str | None]:
        """Return the hashes of the user's own functions."""
        whole = [metric.function for metric in self.metrics.values() if isinstance(metric, WholeMetric)]
        every = whole if self.loss.function is None else [self.loss.function, *whole]
        return {function.spec: function.sha256 for function in every}


def train(
    source: ModelSource,
    data_spec: str,
    hyperparameters: Hyperparameters,
    folder: Path,
    *,
    resume: bool = False,
    force: bool = False,
    checkpoint_every: int | None = None,
    tensorboard: bool = False,
    weights: Path | None = None,
    progress: Progress = silent,
    listener: Listener | None = None,
) -> TrainResult:
    """Train a network and leave a run folder (`bnfold.training.run`).

    The state is written at every measurement (the end of an epoch, unless told otherwise), every ``checkpoint_every``
    steps, and behind the step at which SIGINT, SIGTERM or SIGHUP comes; a second does not wait for that. Killed at any
    moment, with ``resume`` and the same arguments it ends, on the CPU and with as many threads and processes, with the
    same weights bit by bit as if it had not been; where there is no checkpoint or no folder yet, it begins. A finished
    run comes back at once, or goes on if ``epochs`` or ``steps`` has grown (not with the cosine schedule, whose rates
    depend on the end). The caller's random states are left alone.

    Under torchrun the processes train together (DistributedDataParallel): each takes its share of every minibatch,
    Batch Normalization pools its statistics over all of them (`bnfold.nn`), gradients are those of the whole minibatch,
    and only the first process writes. A run may go on with another number of processes.

    Args:
        source: the network.
        data_spec: what `bnfold.data.load_data` takes; its test split is what is measured on.
        hyperparameters: the settings.
        folder: where the run is written.
        resume: go on with the run that is there.
        force: give up the run that is there and begin anew.
        checkpoint_every: steps between further checkpoints; without influence on the result.
        tensorboard: write event files too; without influence on the result.
        weights: what to start from in place of random ones (`bnfold.training.weights`); with ``steps`` 0 they are
            measured and kept as they are.
        progress: told of every step, in the first process.
        listener: told of every measurement, in the first process.

    Raises:
        InputError: anything that does not fit, found before the folder is touched.
        BnfoldError: the loss is no longer finite; the last checkpoint stays.
        ProcessLostError: another process ended before its time; likewise.
        InterruptedTrainingError: one of these signals came, in any of the processes.
    """
    hyperparameters = _with_absolute_functions(hyperparameters)
    with joined(choose_device(hyperparameters.device)) as replicas:
        run_folder.require_startable(folder, resume=resume, force=force)
        if tensorboard:
            require_tensorboard()
        goes_on = resume and run_folder.holds_run(folder)
        plan = _make_plan(source, data_spec, hyperparameters, folder, checkpoint_every, replicas)
        with random_state.isolated(hyperparameters.seed), deterministic(wanted=hyperparameters.deterministic):
            session = _make_session(source, plan, replicas, weights)
            record = make_record(
                source,
                data_spec,
                hyperparameters,
                {Split.TRAIN: plan.train_set, Split.TEST: plan.test_set},
                plan.total,
                functions=plan.functions(),
                weights=weights,
                processes=replicas.size,
                device=replicas.device,
            )
            replicas.wait()  # until all have looked, before the first one writes
            if goes_on:
                run_folder.take_up(folder, record, session, plan.monitor)
            elif replicas.is_first:
                run_folder.begin(folder, record)
            resumed_from = session.step if goes_on else None
            with board(folder, wanted=tensorboard and replicas.is_first, step=session.step) as scalars:
                _take_steps(session, plan, progress, listener, scalars)
        if replicas.is_first and not Run.open(folder).finished:
            run_folder.finish(folder, record, session, plan.monitor)
        replicas.wait()  # until the run is there
        session.close()
    history = tuple(session.history)
    return TrainResult(
        folder, session.step, resumed_from, history, plan.monitor.best(history), plan.monitor.gives_up(history)
    )


def _with_absolute_functions(settings: Hyperparameters) -> Hyperparameters:
    metrics = None if settings.metrics is None else tuple(map(absolute_function, settings.metrics))
    return replace(settings, loss=absolute_function(settings.loss), metrics=metrics)


def _make_plan(
    source: ModelSource,
    data_spec: str,
    settings: Hyperparameters,
    folder: Path,
    checkpoint_every: int | None,
    replicas: Replicas,
) -> _Plan:
    if checkpoint_every is not None and checkpoint_every < 1:
        raise InputError(f"checkpoint-every: expected at least 1 step, found {checkpoint_every}.")
    loss = resolve_loss(settings.loss, source)
    metrics = resolve_metrics(loss.default_metrics if settings.metrics is None else settings.metrics, source)
    monitor = make_monitor(settings.monitor, settings.patience, metrics)
    train_set, test_set = load_data(data_spec, Split.TRAIN), load_data(data_spec, Split.TEST)
    if parse_augmentations(settings.augment):
        require_images(train_set)
    per_epoch = steps_per_epoch(train_set, settings.batch_size)
    require_shares(settings, replicas)
    total = settings.steps or per_epoch * (settings.epochs or 0)  # the settings hold one of the two
    return _Plan(settings, loss, metrics, monitor, train_set, test_set, folder, checkpoint_every, per_epoch, total)


def _make_session(source: ModelSource, plan: _Plan, replicas: Replicas, weights: Path | None) -> Session:
    """Build the network and check it against all the data, so that what can go wrong does so now."""
    session = make_session(source, plan.settings, plan.loss, replicas, weights)
    for dataset in (plan.train_set, plan.test_set):
        require_fit(session.model, dataset, plan.loss, plan.metrics.values())
    (first, *_) = next(shares_between(plan.train_set, plan.settings, replicas, start=0, stop=1))
    require_trainable(session.model, first.batch, plan.loss)
    if not replicas.is_first:
        random_state.seed_replica(plan.settings.seed, replicas.rank)
    return session


def _take_steps(session: Session, plan: _Plan, progress: Progress, listener: Listener | None, scalars: Board) -> None:
    """Take the steps that are left, or until patience is at its end."""
    settings, start, replicas = plan.settings, session.step, session.replicas
    if plan.monitor.gives_up(session.history):
        return
    watch = Stopwatch(session.seconds)
    shares = shares_between(plan.train_set, settings, replicas, start=start, stop=plan.total)
    show = progress if replicas.is_first else silent
    with interruptions() as interrupted:
        if plan.total == 0 and not session.history:
            _settle(session, plan, 0.0, watch, scalars, listener)
        for share in show(shares, description="Training", total=plan.total - start):
            rate = learning_rate(settings, Position(session.step, plan.per_epoch, plan.total))
            _require_finite(session.update(share, rate), "loss", session, plan)
            watch.count(settings.batch_size)
            stops = replicas.any(interrupted())
            if _settle(session, plan, rate, watch, scalars, listener, stops=stops):
                return
            if stops and session.step < plan.total:
                raise InterruptedTrainingError(
                    f"{plan.folder}: step {session.step} of {plan.total} is saved; go on with --resume."
                )


def _settle(
    session: Session,
    plan: _Plan,
    rate: float,
    watch: Stopwatch,
    scalars: Board,
    listener: Listener | None,
    *,
    stops: bool = False,
) -> bool:
    """Measure, save and tell what the step asks for; return whether patience is at its end."""
    measures = plan.wants_measurement(session.step)
    if measures:
        _measure(session, plan, rate, watch)
    if measures or stops or plan.wants_checkpoint(session.step):
        checkpoint.save(plan.folder / CHECKPOINT, session, seconds=watch.seconds)
    if measures and session.replicas.is_first:
        run_folder.keep_best(plan.folder, session, plan.monitor)
        scalars.add(session.history[-1])
        if listener is not None:
            listener(session.history[-1])
    return measures and plan.monitor.gives_up(session.history)


def _measure(session: Session, plan: _Plan, rate: float, watch: Stopwatch) -> None:
    speed = watch.lap()
    how: dict[str, Any] = {"loss": plan.loss, "metrics": plan.metrics, "replicas": session.replicas}
    found = evaluate(session.model, plan.test_set, plan.settings.batch_size, **how)
    _require_finite(found.loss, "test loss", session, plan)
    population = None
    if plan.settings.population_statistics:
        renewed = evaluate_population(session.model, plan.train_set, plan.test_set, plan.settings.batch_size, **how)
        population = {"loss": renewed.loss, **renewed.values}
    measurement = Measurement(
        step=session.step,
        epoch=session.step / plan.per_epoch,
        learning_rate=rate,
        train_loss=session.take_mean_loss(),
        test_loss=found.loss,
        test_accuracy=found.values.get("accuracy"),
        seconds=watch.seconds,
        metrics=dict(found.values),
        population=population,
        samples_per_second=speed,
    )
    session.history.append(measurement)
    watch.start_lap()
    if session.replicas.is_first:
        run_folder.append_metrics(plan.folder, measurement)


def _require_finite(loss: float, name: str, session: Session, plan: _Plan) -> None:
    if math.isfinite(loss):
        return
    if session.step == 0:
        raise BnfoldError(
            f"{plan.folder}: the {name} is {loss} before the first update; look at the data, the initial weights and "
            "the loss."
        )
    kept = "none was written yet" if session.saved_step is None else f"that of step {session.saved_step} is kept"
    raise BnfoldError(
        f"{plan.folder}: the {name} is {loss} after step {session.step}: training diverged; checkpoint: {kept}; "
        f"begin anew with a learning-rate below {plan.settings.learning_rate:g}."
    )
