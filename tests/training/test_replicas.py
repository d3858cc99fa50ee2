import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnfold.errors import InputError
from bnfold.training.hyperparameters import Hyperparameters
from bnfold.training.replicas import ProcessLostError, Replicas, joined, processes
from bnfold.training.shares import require_shares


@given(samples=st.integers(0, 50), size=st.integers(1, 9))
def test_shares_cover_every_sample_once(samples: int, size: int) -> None:
    """In order, without gaps, and of sizes that differ by at most one."""
    shares = [range(samples)[Replicas(rank, size).share(samples)] for rank in range(size)]
    assert [sample for share in shares for sample in share] == list(range(samples))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_is_its_own_sum() -> None:
    """Without torchrun nothing is exchanged, in float64 and on the CPU."""
    with joined(torch.device("cpu")) as replicas:
        assert (replicas.rank, replicas.size, replicas.is_first) == (0, 1, True)
        total = replicas.sum(torch.tensor([1.5], requires_grad=True))
        assert (total.dtype, total.requires_grad, total.tolist()) == (torch.float64, False, [1.5])
        assert replicas.gather("x") == ["x"]


def test_an_environment_that_is_not_torchruns_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing or no number is named."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    words = "WORLD_SIZE is 2, but MASTER_ADDR, MASTER_PORT is not set; start with torchrun"
    with pytest.raises(InputError, match=words), joined(torch.device("cpu")):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="WORLD_SIZE: expected a number as torchrun sets it, found 'two'"):
        processes()


def test_a_minibatch_has_to_be_enough_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process gets at least one sample of every part."""
    require_shares(Hyperparameters(batch_size=6, accumulate=3), Replicas(0, 2))
    with pytest.raises(InputError, match="5 samples cannot be cut into 3 parts for 2 processes; take 6 or more"):
        require_shares(Hyperparameters(batch_size=5, accumulate=3), Replicas(0, 2))


def test_a_lost_process_is_an_error_of_its_own() -> None:
    """The command line tells it in every process that is left; it ends like other failures of the machine."""
    assert ProcessLostError.exit_code == 5
