"""Data through the datasets library, from local files: nothing is downloaded."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import config
from PIL import Image

from bnfold.data import Split, hub, load_data
from bnfold.errors import InputError, MissingDependencyError


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the library's copies out of the user's home, and each test's apart."""
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    hub._parts.cache_clear()


def pixels(seed: int, *shape: int) -> Any:
    """Return random pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(path: Path, seed: int, *, shape: tuple[int, ...] = (6, 5), mode: str | None = None) -> Path:
    """Write an image without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels(seed, *shape))
    (image if mode is None else image.convert(mode)).save(path)
    return path


def folder(place: Path, **splits: dict[str, int]) -> Path:
    """Write so many images of each class of each split."""
    seed = 0
    for split, classes in splits.items():
        for name, count in classes.items():
            for number in range(count):
                picture(place / split / name / f"{number}.png", seed := seed + 1)
    return place


def test_a_folder_of_images_becomes_arrays_and_classes(tmp_path: Path) -> None:
    """Both splits, pixel by pixel, with the folders' names sorted as class numbers."""
    place = folder(tmp_path / "pets", train={"cat": 3, "dog": 2}, test={"cat": 1, "dog": 1})
    train, test = (load_data(f"hf:{place}", split) for split in Split)
    assert (train.name, list(train.inputs)) == (f"hf:{place}", ["image"])
    assert train.inputs["image"].shape == (5, 1, 6, 5)
    assert train.labels is not None
    assert sorted(train.labels.tolist()) == [0, 0, 0, 1, 1]
    expected = {pixels(seed, 6, 5).tobytes(): int(seed > 3) for seed in range(1, 6)}
    for image, label in zip(train.inputs["image"], train.labels, strict=True):
        assert expected[(image[0] * 255).round().astype(np.uint8).tobytes()] == label
    assert test.inputs["image"].shape == (2, 1, 6, 5)


def test_colour_makes_three_planes_of_all(tmp_path: Path) -> None:
    """Grey among colour is shown in colour; the planes are red, green and blue."""
    picture(tmp_path / "a" / "train" / "x" / "0.png", 1, shape=(6, 5, 3))
    picture(tmp_path / "a" / "train" / "y" / "0.png", 2)
    found = load_data(f"hf:{tmp_path / 'a'}", Split.TRAIN).inputs["image"]
    np.testing.assert_array_equal((found[0] * 255).round(), np.moveaxis(pixels(1, 6, 5, 3), -1, 0))
    np.testing.assert_array_equal((found[1] * 255).round(), np.stack([pixels(2, 6, 5)] * 3))


def test_parquet_holds_images_or_numbers(tmp_path: Path) -> None:
    """A file of encoded images, and a folder of files with columns of numbers, texts as classes, and a validation."""
    place = folder(tmp_path / "pets", train={"cat": 2, "dog": 2})
    datasets.load_dataset(str(place))["train"].to_parquet(tmp_path / "pets.parquet")
    images, same = load_data(f"hf:{tmp_path / 'pets.parquet'}", Split.TRAIN), load_data(f"hf:{place}", Split.TRAIN)
    np.testing.assert_array_equal(images.inputs["image"], same.inputs["image"])
    np.testing.assert_array_equal(images.labels, same.labels)
    (tmp_path / "rows").mkdir()
    for split, size in (("train", 4), ("validation", 2)):
        rows = {
            "x": [[[1.0, 2.0, float(i)]] for i in range(size)],
            "n": list(range(size)),
            "note": ["text"] * size,
            "label": ["b", "a"] * (size // 2),
        }
        datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "rows" / f"{split}.parquet")
    train, test = (load_data(f"hf:{tmp_path / 'rows'}", split) for split in Split)
    assert {name: (x.shape, str(x.dtype)) for name, x in train.inputs.items()} == {
        "x": ((4, 1, 3), "float32"),
        "n": ((4,), "int64"),
    }
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 0, 1, 0], [1, 0])


def test_a_single_split_is_used_whole_for_both(tmp_path: Path) -> None:
    """As with an archive without test arrays."""
    place = folder(tmp_path / "pets", train={"cat": 2, "dog": 1})
    assert load_data(f"hf:{place}", Split.TRAIN).digest() == load_data(f"hf:{place}", Split.TEST).digest()


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_broken_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Empty, of another kind, or cut off in the middle: the file is said, in one line."""
    place = folder(tmp_path / "pets", train={"cat": 2, "dog": 2})
    broken = place / "train" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:45] if content is None else content)
    with pytest.raises(InputError, match=r"dog/1\.png: not a readable image; repair the file or take it out") as caught:
        load_data(f"hf:{place}", Split.TRAIN)
    assert "\n" not in str(caught.value)


def test_images_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """Another size, and values of more than 8 bits."""
    place = folder(tmp_path / "pets", train={"cat": 2, "dog": 1})
    picture(place / "train" / "dog" / "1.png", 9, shape=(4, 5))
    with pytest.raises(InputError, match=r"dog/1\.png has 5×4 pixels, .*cat/0\.png has 5×6; give all images one size"):
        load_data(f"hf:{place}", Split.TRAIN)
    hub._parts.cache_clear()
    Image.fromarray(pixels(1, 6, 5).astype(np.uint16)).save(place / "train" / "dog" / "1.png")
    with pytest.raises(InputError, match=r"dog/1\.png: pixels of kind 'I;16'; expected 8 bits a value"):
        load_data(f"hf:{place}", Split.TRAIN)


def test_a_class_that_training_does_not_know_is_named(tmp_path: Path) -> None:
    """The test's folder of another class, by its name and file."""
    place = folder(tmp_path / "pets", train={"cat": 2, "dog": 1}, test={"cat": 1, "eel": 1})
    load_data(f"hf:{place}", Split.TRAIN)
    with pytest.raises(InputError, match=r"test/eel/0\.png: class 'eel' is not among .*training split: cat, dog\."):
        load_data(f"hf:{place}", Split.TEST)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves the table open
def test_a_missing_label_is_named(tmp_path: Path) -> None:
    """A table of labels beside the images that leaves one out; images in no folder have none at all."""
    for number in range(3):
        picture(tmp_path / "pets" / "train" / f"{number}.png", number)
    rows = "file_name,label\n0.png,cat\n1.png,\n2.png,dog\n"
    (tmp_path / "pets" / "train" / "metadata.csv").write_text(rows)
    with pytest.raises(InputError, match=r"train/1\.png: no label in column label"):
        load_data(f"hf:{tmp_path / 'pets'}", Split.TRAIN)
    hub._parts.cache_clear()
    (tmp_path / "pets" / "train" / "metadata.csv").unlink()
    assert load_data(f"hf:{tmp_path / 'pets'}", Split.TRAIN).labels is None


def test_a_hub_that_cannot_be_reached_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library would try for minutes; a path that leads nowhere is not taken for a name."""
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    words = "hf:mnist: is no folder here, and 127.0.0.1 cannot be reached .*; name a folder of images or a parquet file"
    with pytest.raises(InputError, match=words):
        load_data("hf:mnist", Split.TRAIN)
    for place in ("./nowhere", f"{tmp_path}/nowhere", "nowhere.parquet", "some/where/else"):
        with pytest.raises(InputError, match=f"hf:{place}: no such file or folder"):
            load_data(f"hf:{place}", Split.TRAIN)


def test_what_the_library_cannot_read_is_one_line(tmp_path: Path) -> None:
    """An empty folder, a set that is not there, one without numbers, and lists of different lengths."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"^hf:.*empty: could not be read: EmptyDatasetError"):
        load_data(f"hf:{tmp_path / 'empty'}", Split.TRAIN)
    with pytest.raises(InputError, match=r"^hf:no_such_set: could not be read: "):
        load_data("hf:no_such_set", Split.TRAIN)
    cases: dict[str, dict[str, list[Any]]] = {
        "no column of images or numbers to train on, only note Value": {"note": ["a", "b"]},
        "column x holds lists of different lengths": {"x": [[1.0], [1.0, 2.0]]},
        "column x has no number in row 1": {"x": [1.0, None]},
    }
    for words, rows in cases.items():
        path = tmp_path / f"{len(words)}.parquet"
        datasets.Dataset.from_dict(rows).to_parquet(path)
        with pytest.raises(InputError, match=words):
            load_data(f"hf:{path}", Split.TRAIN)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setattr(hub, "find_spec", lambda name: None if name == "PIL" else object())
    with pytest.raises(MissingDependencyError, match=r"pillow is not installed; run pip install 'bnfold\[hf\]'"):
        load_data("hf:anything", Split.TRAIN)
