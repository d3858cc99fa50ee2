from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnfold.data import Split, load_data
from bnfold.errors import InputError

X = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
Y = np.array([0, 1, 1, 0])


def saved(folder: Path, **arrays: np.ndarray[Any, Any]) -> str:
    """Write an archive and return its spec."""
    np.savez(folder / "data.npz", **arrays)  # pyright: ignore[reportArgumentType]  (its stub takes the arrays for allow_pickle)
    return f"npz:{folder / 'data.npz'}"


def test_an_archive_without_test_arrays_serves_both_splits(tmp_path: Path) -> None:
    """Inputs keep their names, y becomes the labels, and both splits are the whole."""
    spec = saved(tmp_path, images=X, depth=X[:, 0], y=Y)
    for split in Split:
        dataset = load_data(spec, split)
        assert list(dataset.inputs) == ["images", "depth"]
        np.testing.assert_array_equal(dataset.inputs["images"], X)
        assert dataset.labels is not None
        assert dataset.labels.tolist() == Y.tolist()


def test_labels_are_optional(tmp_path: Path) -> None:
    """An archive to calibrate on needs no labels."""
    assert load_data(saved(tmp_path, images=X), Split.TRAIN).labels is None


def test_test_arrays_are_the_test_split_only(tmp_path: Path) -> None:
    """test_<name> and test_y replace <name> and y for the test split and are no inputs of the training split."""
    spec = saved(tmp_path, images=X, y=Y, test_images=X[:3] + 100, test_y=Y[:3])
    train, test = load_data(spec, Split.TRAIN), load_data(spec, Split.TEST)
    assert (list(train.inputs), len(train)) == (["images"], 4)
    assert (list(test.inputs), len(test)) == (["images"], 3)
    np.testing.assert_array_equal(test.inputs["images"], X[:3] + 100)


def test_an_input_whose_name_begins_like_a_test_array_is_an_input(tmp_path: Path) -> None:
    """test_x without an x is a model input of that name."""
    assert list(load_data(saved(tmp_path, test_x=X, y=Y), Split.TEST).inputs) == ["test_x"]


@pytest.mark.parametrize(
    ("arrays", "missing"),
    [
        ({"images": X, "y": Y, "test_images": X}, "test_y"),
        ({"images": X, "y": Y, "test_y": Y}, "test_images"),
        ({"images": X, "depth": X, "test_images": X}, "test_depth"),
    ],
)
def test_half_a_test_split_is_refused(tmp_path: Path, arrays: dict[str, Any], missing: str) -> None:
    """A test split without one of its arrays would mix the two splits: the missing one is named."""
    spec = saved(tmp_path, **arrays)
    with pytest.raises(InputError, match=rf"but no {missing}; give all of them or none"):
        load_data(spec, Split.TEST)


def test_an_archive_of_labels_alone_has_no_inputs(tmp_path: Path) -> None:
    """y is never taken for an input."""
    with pytest.raises(InputError, match="no inputs"):
        load_data(saved(tmp_path, y=Y), Split.TRAIN)


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    """An archive without arrays has no inputs."""
    with pytest.raises(InputError, match="no inputs"):
        load_data(saved(tmp_path), Split.TRAIN)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    """An object array, which could run code, is refused rather than unpickled."""
    spec = saved(tmp_path, images=np.array([{}, []], dtype=object))
    with pytest.raises(InputError, match=r"not a readable archive of numeric arrays"):
        load_data(spec, Split.TRAIN)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    """Missing, empty, truncated, foreign and single-array files, and directories, each give one line with the path."""
    whole = Path(saved(tmp_path, images=X, y=Y).removeprefix("npz:")).read_bytes()
    np.save(tmp_path / "single.npy", X)
    (tmp_path / "empty.npz").touch()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.npz").write_bytes(whole.replace(X.tobytes(), X.tobytes()[::-1]))
    (tmp_path / "text.npz").write_text("hello")
    expected = {
        "missing.npz": "no such file",
        "empty.npz": "not a readable archive",
        "cut.npz": "not a readable archive",
        "flipped.npz": "not a readable archive",
        "text.npz": "not a readable archive",
        "single.npy": "a single array; expected an archive",
        ".": "expected a file, found a directory",
    }
    for name, words in expected.items():
        with pytest.raises(InputError, match=words) as caught:
            load_data(f"npz:{tmp_path / name}", Split.TRAIN)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
