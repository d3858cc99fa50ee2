"""Who speaks when several processes train together."""

from typing import Any, cast

import pytest

from bnfold.errors import InputError
from bnfold.training.replicas import ProcessLostError
from bnfold_cli.work.train import Trained, speaking_for_all

TRAINED = cast("Trained", object())


def failing(error: Exception) -> Any:
    """Return work that raises."""

    def work() -> Trained:
        raise error

    return work


@pytest.mark.parametrize("rank", ["", "0"])
def test_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    """Alone, or the first of several: results and errors come through."""
    monkeypatch.setenv("RANK", rank)
    assert speaking_for_all(lambda: TRAINED) is TRAINED
    with pytest.raises(InputError, match="no such file"):
        speaking_for_all(failing(InputError("no such file")))


def test_the_others_are_silent_but_for_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """They end with the same exit code and no words; who is left tells that a process is gone."""
    monkeypatch.setenv("RANK", "1")
    assert speaking_for_all(lambda: TRAINED) is None
    with pytest.raises(SystemExit) as ended:
        speaking_for_all(failing(InputError("no such file")))
    assert ended.value.code == 2
    with pytest.raises(ProcessLostError, match="gone"):
        speaking_for_all(failing(ProcessLostError("gone")))
