import sys

import numpy as np
import pytest

from bnfold.data import Split, load_data
from bnfold.errors import MissingDependencyError


def test_digits_are_real_images_in_a_fixed_stratified_split() -> None:
    """Sizes, types and ranges are as documented, the splits do not overlap, and every class has a fifth in the test."""
    train, test = load_data("digits", Split.TRAIN), load_data("digits", Split.TEST)
    assert (train.inputs["images"].shape, test.inputs["images"].shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert train.inputs["images"].dtype == np.float32
    assert (train.inputs["images"].min(), train.inputs["images"].max()) == (0, 1)
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.dtype == np.int64
    everywhere = np.bincount(train.labels) + np.bincount(test.labels)
    assert everywhere.sum() == 1797
    # Every fifth of a run of n samples is n/5 of them, up to one.
    assert np.abs(np.bincount(test.labels) - everywhere / 5).max() <= 1


def test_splits_share_no_sample() -> None:
    """The test images are all of scikit-learn's that training does not see."""
    from sklearn.datasets import load_digits

    train, test = (load_data("digits", split).inputs["images"] for split in Split)
    together = np.sort(np.concatenate([train, test]).reshape(1797, 64) * 16, axis=0)
    np.testing.assert_array_equal(together, np.sort(load_digits(return_X_y=True)[0], axis=0))


def test_the_split_is_the_same_on_every_machine() -> None:
    """The content is pinned by its hash, so that published figures stay comparable."""
    assert load_data("digits", Split.TEST).digest().startswith("0f48868a3c3bd4bf")
    assert load_data("digits", Split.TRAIN).digest().startswith("49027e829667a07f")


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the distribution is missing the user is told the extra to install."""
    from bnfold.data import digits

    digits._load.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'bnfold\[train\]'"):
        load_data("digits", Split.TRAIN)
