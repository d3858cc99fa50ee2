from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnfold.errors import InputError
from bnfold.training import Hyperparameters, train
from tests.training.tiny import TinyTraining, metrics, weights


def test_a_run_is_given_up_only_by_force(tiny: TinyTraining, whole: Path) -> None:
    """Without a word about it the run that is there stays; with force it begins anew; both words contradict."""
    before = weights(whole)
    with pytest.raises(InputError, match="whole: holds a run; go on with --resume, replace it with --force, or choose"):
        tiny.train(whole)
    with pytest.raises(InputError, match="resume goes on with the run that is there, force gives it up: choose one"):
        tiny.train(whole, resume=True, force=True)
    assert weights(whole) == before
    assert tiny.train(whole, settings={"steps": 1}, force=True).resumed_from is None
    assert weights(whole) != before
    assert len(metrics(whole)) == 1


def test_other_folders_and_files_are_never_touched(tiny: TinyTraining, tmp_path: Path) -> None:
    """Neither force nor resume takes a folder of other things for a run."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    words: list[dict[str, Any]] = [{}, {"force": True}, {"resume": True}]
    for options in words:
        with pytest.raises(InputError, match="precious: holds files, but no run; choose another name"):
            tiny.train(tmp_path / "precious", **options)
        with pytest.raises(InputError, match=r"thesis\.tex: expected a folder, found a file"):
            tiny.train(tmp_path / "precious" / "thesis.tex", **options)
        with pytest.raises(InputError, match=r"thesis\.tex is a file, expected a directory"):
            tiny.train(tmp_path / "precious" / "thesis.tex" / "run", **options)
    assert [file.name for file in (tmp_path / "precious").iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_free(tiny: TinyTraining, tmp_path: Path) -> None:
    """A folder made beforehand is used, with or without resume."""
    for name, options in (("a", {}), ("b", {"resume": True})):
        (tmp_path / name).mkdir()
        assert tiny.train(tmp_path / name, settings={"steps": 1}, **options).steps == 1


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({"batch_size": 1438}, {}, "batch-size: 1438 is more than the 1437 training samples of digits"),
        ({"batch_size": 1}, {}, "Expected more than 1 value per channel"),
        ({}, {"checkpoint_every": 0}, "checkpoint-every: expected at least 1 step, found 0"),
    ],
)
def test_bad_settings_write_nothing(
    tiny: TinyTraining, tmp_path: Path, settings: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    """What cannot be trained is found before the folder is made."""
    with pytest.raises(InputError, match=words):
        tiny.train(tmp_path / "run", settings=settings, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the refusal is for machines without CUDA")
def test_cuda_that_is_not_there_writes_nothing(tiny: TinyTraining, tmp_path: Path) -> None:
    """The CPU is no stand-in for what was asked for."""
    with pytest.raises(InputError, match="device: no cuda here"):
        tiny.train(tmp_path / "run", settings={"device": "cuda"})
    assert not (tmp_path / "run").exists()


IMAGES = np.linspace(0, 1, 20 * 64, dtype=np.float32).reshape(20, 1, 8, 8)
LABELS = np.arange(20) % 10


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": IMAGES}, "no labels; training and accuracy need them"),
        ({"images": IMAGES, "y": LABELS + 1}, "label 10, but the model has 10 classes"),
        ({"images": IMAGES, "y": LABELS - 1}, "label -1, expected class numbers from 0"),
        ({"images": IMAGES, "y": LABELS / 2}, r"labels are float64, expected class numbers \(integers\)"),
        ({"images": IMAGES[..., :5], "y": LABELS}, r"does not take images float32 \(2, 1, 8, 5\): RuntimeError"),
        ({"images": IMAGES.astype(float), "y": LABELS}, r"does not take images float64 \(2, 1, 8, 8\): RuntimeError"),
        ({"left": IMAGES, "right": IMAGES, "y": LABELS}, r"inputs left, right do not fit forward\(images\)"),
        (
            {"images": IMAGES, "y": np.stack([LABELS, LABELS], 1)},
            r"returns .* \(2, 10\); expected scores \(2, classes, 2\)",
        ),
        (
            {"images": IMAGES, "y": LABELS, "test_images": IMAGES, "test_y": LABELS + 7},
            "label 16, but the model has 10 classes",
        ),
    ],
)
def test_bad_data_writes_nothing(tiny: TinyTraining, tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    """Data that does not fit the model or the loss, in either split, is one line that names the file."""
    np.savez(tmp_path / "data.npz", **arrays)
    settings = Hyperparameters.of({"steps": 1, "batch_size": 4, "device": "cpu"}, where="test")
    with pytest.raises(InputError, match=rf"data\.npz: .*{words}") as caught:
        train(tiny.source(), f"npz:{tmp_path / 'data.npz'}", settings, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
