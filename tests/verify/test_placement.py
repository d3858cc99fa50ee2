import json
from pathlib import Path

from bnfold.verify.placement import read_profile
from tests.verify.recordings import CPU, CUDA, ON_CUDA, moved, profile


def test_kernels_are_read_off_a_profile(tmp_path: Path) -> None:
    """Kernels come in order with name, operator, provider and output types; other events are no kernels."""
    path = tmp_path / "profile.json"
    path.write_text(profile(*ON_CUDA.executed))
    assert read_profile(path) == ON_CUDA.executed


def test_a_profile_without_kernels_is_empty(tmp_path: Path) -> None:
    """A run of nothing leaves no kernel."""
    path = tmp_path / "profile.json"
    path.write_text(profile())
    assert read_profile(path) == ()


def test_the_record_tells_counts_and_strays() -> None:
    """JSON says how many kernels ran where, and names every node that is not on the first provider."""
    record = json.loads(json.dumps(moved(ON_CUDA, "bn", CPU).to_dict()))
    assert record["executed"] == {CPU: 4, CUDA: 4}
    assert record["assigned"] == 7
    assert record["options"][CUDA] == {"use_tf32": "0"}
    assert f"bn (BatchNormalization) on {CPU}" in record["elsewhere"]
    assert not any("conv (Conv)" in stray for stray in record["elsewhere"])
