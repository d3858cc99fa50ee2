"""Who speaks when several processes train together."""

from datetime import timedelta
from typing import Any, cast

import pytest
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  # torch documents it as public

from bnfold.errors import InputError
from bnfold.training.interruption import InterruptedTrainingError
from bnfold.training.replicas import ProcessLostError
from bnfold_cli.work.speaking import speaking_for_all
from bnfold_cli.work.train import Trained

TRAINED = cast("Trained", object())


def failing(error: BaseException) -> Any:
    """Return work that raises."""

    def work() -> Trained:
        raise error

    return work


@pytest.mark.parametrize("rank", ["", "0"])
def test_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    """Alone, or the first of several: results and errors come through."""
    monkeypatch.setenv("RANK", rank)
    assert speaking_for_all(lambda: TRAINED, print) is TRAINED
    with pytest.raises(InputError, match="no such file"):
        speaking_for_all(failing(InputError("no such file")), print)


def test_the_others_are_silent_but_for_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """They end with the same exit code and no words; who is left tells that a process is gone."""
    monkeypatch.setenv("RANK", "1")
    assert speaking_for_all(lambda: TRAINED, print) is None
    with pytest.raises(SystemExit) as ended:
        speaking_for_all(failing(InputError("no such file")), print)
    assert ended.value.code == 2
    with pytest.raises(ProcessLostError, match="gone"):
        speaking_for_all(failing(ProcessLostError("gone")), print)


@pytest.mark.parametrize(
    ("error", "code"), [(ProcessLostError("gone"), ProcessLostError.exit_code), (KeyboardInterrupt("SIGTERM"), 130)]
)
def test_one_of_those_that_are_left_speaks(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    """The first to ask torchrun's store tells that a process is gone, and that all were told to stop; once a start."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    for restart in ("0", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restart)
        for rank, ends in (("2", type(error)), ("1", SystemExit), ("0", SystemExit)):
            monkeypatch.setenv("RANK", rank)
            with pytest.raises(ends) as ended:
                speaking_for_all(failing(error), print)
            assert rank == "2" or getattr(ended.value, "code", None) == code


@pytest.mark.parametrize("port", ["1", "none"])
def test_without_a_store_everyone_speaks(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    """Where the lost process held it, or where the environment names none that makes sense."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", port)
    monkeypatch.setattr("bnfold_cli.work.speaking.PATIENCE", timedelta(seconds=1))
    with pytest.raises(ProcessLostError, match="gone"):
        speaking_for_all(failing(ProcessLostError("gone")), print)


@pytest.mark.parametrize(("rank", "ends"), [("0", InterruptedTrainingError), ("1", SystemExit)])
def test_the_first_tells_where_the_training_stopped(
    monkeypatch: pytest.MonkeyPatch, rank: str, ends: type[BaseException]
) -> None:
    """The others end with the exit code of what is interrupted, silently."""
    monkeypatch.setenv("RANK", rank)
    notes: list[str] = []
    with pytest.raises(ends) as ended:
        speaking_for_all(failing(InterruptedTrainingError("step 5 is saved")), notes.append)
    assert notes == (["step 5 is saved"] if rank == "0" else [])
    assert rank == "0" or getattr(ended.value, "code", None) == 130
