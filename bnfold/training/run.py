"""A run folder: the record, the final weights, the metrics, and the checkpoint that training goes on from.

- ``run.json``: what the run was made of (`bnfold.training.record`);
- ``model.safetensors``: the final weights, there once the run is finished;
- ``best.safetensors``: the weights of the best measurement so far;
- ``checkpoint.safetensors``: the latest state of the training; kept, so that a finished run can be extended;
- ``metrics.jsonl``: one `bnfold.training.record.Measurement` a line;
- ``tensorboard/``: event files with the same figures, where asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bnfold.data.factories import one_line
from bnfold.data.load import factory_file
from bnfold.errors import InputError
from bnfold.files import atomic_directory, require_output
from bnfold.training import random_state, record, trust
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.models import Kind, ModelSource, resolve_model
from bnfold.training.record import Record
from bnfold.training.tensors import read_tensors, write_tensors

MODEL = "model.safetensors"
BEST = "best.safetensors"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Run:
    """A run folder that was opened; holds no weights itself.

    Attributes:
        folder: where it is.
        record: the content of ``run.json``.
    """

    folder: Path
    record: Record

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Return the run in ``folder``, finished or not; no code that it names is run.

        Raises:
            InputError: not a run folder, or its record is damaged.
        """
        return cls(folder, record.read_record(folder))

    @property
    def finished(self) -> bool:
        """Whether training reached its end."""
        return self.record.get("finished") is True

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The settings that the run was made with."""
        return Hyperparameters.of(self.record["hyperparameters"], where=str(self.folder / record.FILE))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the model's inputs, in the order of the data set."""
        return tuple(self.record["inputs"])

    @property
    def data_spec(self) -> str:
        """What the run was trained on, fit for `bnfold.data.load_data`.

        Raises:
            InputError: it names a Python file that changed since; the user has to name the data again.
        """
        data = self.record["data"]
        code = factory_file(data["spec"])
        if code is not None:
            trust.require_unchanged(code, data.get("sha256"), option="--data")
        return data["spec"]

    def load_model(self, builtins: Path, model: str | None = None) -> nn.Module:
        """Return the network with its final weights, on the CPU, in evaluation mode; no random state moves.

        Args:
            builtins: folder of the built-in models.
            model: the user's word for the source, in place of the run's.

        Raises:
            InputError: the run is not finished, names code that it may not have run (`bnfold.training.trust`), or its
                weights do not fit.
        """
        if not self.finished:
            raise InputError(f"{self.folder}: the run is not finished; go on with --resume.")
        source = self.source(builtins, model)
        with random_state.isolated(0):
            network = source.build()
        path = self.folder / MODEL
        weights, _ = read_tensors(path)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"{path}: does not fit {source.spec}: {one_line(error)}.") from error
        return network.eval()

    def source(self, builtins: Path, model: str | None = None) -> ModelSource:
        """Return where the network comes from, by the run's word if that is enough, else the user's.

        Args:
            builtins: folder of the built-in models.
            model: the user's word.

        Raises:
            InputError: the run names code that it may not have run.
        """
        return self._source(builtins) if model is None else self._resolve(model, builtins)

    def _source(self, builtins: Path) -> ModelSource:
        """Return what the record names, if the record's word is enough."""
        named = self.record["model"]
        if named["kind"] == Kind.BUILTIN and ":" not in named["spec"]:
            return self._resolve(named["spec"], builtins)
        if named["kind"] != Kind.FILE or not isinstance(named.get("path"), str):
            raise InputError(f"{self.folder}: made with {named['spec']}; name it again with --model if you trust it.")
        path = Path(named["path"])
        trust.require_unchanged(path, named.get("sha256"), option="--model")
        source = self._resolve(f"{path}:{named['factory']}", builtins)
        # The file is read once more above, and what is run is what was read then.
        if source.sha256 != named["sha256"]:
            raise InputError(f"{path}: changed while the run was opened.")
        return source

    def _resolve(self, spec: str, builtins: Path) -> ModelSource:
        return resolve_model(spec, self.record["model"].get("args") or {}, builtins)


def write_run(
    folder: Path,
    run_record: Mapping[str, object],
    state_dict: Mapping[str, object],
    *,
    files: Mapping[str, bytes] | None = None,
    force: bool = False,
) -> Run:
    """Write a finished run with other weights, such as a calibrated one, whole or not at all.

    Args:
        folder: where to.
        run_record: that of the run it comes from, with what is to be added.
        state_dict: the weights.
        files: further files by name.
        force: replace a run that is there; never any other folder.

    Raises:
        InputError: the folder exists, or cannot be written.
    """
    require_run_output(folder, force=force)
    finished = {**run_record, "schema": record.SCHEMA, "finished": True}
    with atomic_directory(folder) as new:
        write_tensors(new / MODEL, state_dict, {"format": "pt"})
        for name, content in (files or {}).items():
            (new / name).write_bytes(content)
        record.write_record(new / record.FILE, finished)
    return Run.open(folder)


def require_run_output(folder: Path, *, force: bool) -> Path:
    """Return ``folder`` if a run can be written there: it is new, empty, or a run that ``force`` gives up.

    Raises:
        InputError: it is a file, holds a run and ``force`` is off, holds something else, or cannot be written.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return require_output(folder, force=True)
    if folder.is_dir() and not (folder / record.FILE).is_file():
        raise InputError(f"{folder}: holds files, but no run; choose another name.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder, found a file.")
    return require_output(folder, force=force)
