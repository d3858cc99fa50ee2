"""Tests of ``bnfold.population.spill`` and ``tensor_states``: what goes to disk comes back as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.population.spill import States, spill_note
from bnfold.population.tensor_states import own_storage, pack_tensors, storages_of


def values() -> Tensor:
    """Return integers (4, 6) as float32."""
    return torch.arange(24, dtype=torch.float32).view(4, 6)


def test_views_share_their_storage_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor, a transposed part of it and a tuple around both: the same values, strides, and one memory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    base = values()
    with States[object](pack_tensors(), budget=0) as states:
        states.put(3, {"base": base, "more": (base[1:].t(), "text", None, 7)})
        assert states.in_memory == 0
        assert states.spilled_bytes == 24 * 4
        restored = states.take(3)
    assert isinstance(restored, dict)
    part, *others = restored["more"]
    assert torch.equal(part, base[1:].t())
    assert part.stride() == base[1:].t().stride()
    assert others == ["text", None, 7]
    restored["base"][2, 5] = -1
    assert part[5, 1] == -1
    assert base[2, 5] == 17


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.bool, torch.int64, torch.complex64])
def test_every_type_comes_back_to_the_bit(dtype: torch.dtype) -> None:
    """Types that NumPy lacks too, in channels-last layout."""
    tensor = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    with States[object](pack_tensors(), budget=0) as states:
        states.put(0, [tensor])
        (restored,) = states.take(0)  # type: ignore[misc]
    assert torch.equal(restored, tensor)
    assert (restored.dtype, restored.stride()) == (dtype, tensor.stride())


def test_the_budget_is_kept() -> None:
    """Two states of 96 bytes fit into 200, the third goes to disk, and there is room again once one is taken."""
    with States[object](pack_tensors(), budget=200) as states:
        for key in range(3):
            states.put(key, values() + key)
        assert (states.in_memory, states.spilled_bytes) == (192, 96)
        for key in (2, 0, 1):
            assert torch.equal(states.take(key), values() + key)  # type: ignore[arg-type]
        assert states.in_memory == 0
        states.put(0, values())
        assert (states.in_memory, states.spilled_bytes) == (96, 96)


def test_weights_are_not_written() -> None:
    """A view of a parameter costs nothing to hold, and is the parameter still."""
    model = nn.Linear(5, 5)
    with States[object](pack_tensors(storages_of(model)), budget=0) as states:
        states.put(0, [model.weight.t(), torch.zeros(2)])
        assert states.spilled_bytes == 8
        weight, _ = states.take(0)  # type: ignore[misc]
    assert weight.data_ptr() == model.weight.data_ptr()


def test_a_part_of_something_larger_is_copied() -> None:
    """Batches that are slices of one data set are held without the rest of it."""
    batch, whole = values()[:1], values()
    part, same = own_storage([batch, whole])  # type: ignore[misc]
    assert part.untyped_storage().nbytes() == 6 * 4
    assert same is whole


def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do about it, and the folder is gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with States[object](pack_tensors(), budget=0) as states:
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(InputError, match="No space left on device; raise the memory budget, or point TMPDIR"):
            states.put(0, values())
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_too() -> None:
    """The form in which values of an ONNX graph wait."""
    from bnfold.population_onnx.batches import pack_arrays

    state = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array(True), "c": np.zeros((0, 4), np.float16)}
    with States(pack_arrays, budget=0) as states:
        states.put(0, dict(state))
        restored = states.take(0)
    for name, array in state.items():
        np.testing.assert_array_equal(restored[name], array)
        assert restored[name].dtype == array.dtype


@pytest.mark.parametrize(("written", "told"), [(1, "1 MiB"), (3 << 19, "2 MiB"), (1000 << 20, "1000 MiB")])
def test_the_note_tells_of_the_least_that_was_written(written: int, told: str) -> None:
    """What was written is never told as nothing."""
    assert spill_note(written).startswith(f"{told} did not fit into the memory budget")
