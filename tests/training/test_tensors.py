from pathlib import Path

import pytest
import torch

from bnfold.errors import InputError
from bnfold.training.tensors import read_tensors, write_tensors


def test_tensors_come_back_bit_by_bit(tmp_path: Path) -> None:
    """Strided, shared, scalar, empty and half-precision tensors survive, and so does the text."""
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "transposed": base.T,
        "shared": base,
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "half": torch.tensor([0.1, -0.0], dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.tensor([float("nan")])),
    }
    write_tensors(tmp_path / "a.safetensors", tensors, {"note": "Grüße"})
    found, text = read_tensors(tmp_path / "a.safetensors")
    assert text == {"note": "Grüße"}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].nan_to_num(9.0), tensor.detach().nan_to_num(9.0))


def test_what_is_no_tensor_is_refused_and_nothing_written(tmp_path: Path) -> None:
    """Extra state of another kind would be lost silently."""
    with pytest.raises(InputError, match=r"a\.safetensors: layer\._extra_state is of type dict; safetensors keeps"):
        write_tensors(tmp_path / "a.safetensors", {"layer._extra_state": {}}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """A failed write leaves what was there."""
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.ones(2)}, {})
    with pytest.raises(InputError, match="is of type int"):
        write_tensors(path, {"x": torch.zeros(2), "y": 3}, {})
    assert read_tensors(path)[0]["x"].tolist() == [1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A file in the way of the folder is said with the path."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"a\.safetensors: could not be written"):
        write_tensors(tmp_path / "file" / "a.safetensors", {"x": torch.ones(2)}, {})


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    """Missing, empty, truncated and foreign files each name the path."""
    write_tensors(tmp_path / "whole.safetensors", {"x": torch.ones(50)}, {})
    whole = (tmp_path / "whole.safetensors").read_bytes()
    for name, content in {"empty": b"", "cut": whole[:-40], "text": b"hello, this is not a header" * 9}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: not a readable safetensors file"):
            read_tensors(tmp_path / name)
    with pytest.raises(InputError, match="gone: no such file"):
        read_tensors(tmp_path / "gone")
