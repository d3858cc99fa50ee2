import itertools

import numpy as np
import pytest

from bnfold.data import Split, load_data
from bnfold.data.composed import COMPOSED
from bnfold.data.composed.python_text import ALPHABET


@pytest.mark.parametrize("name", COMPOSED)
def test_splits_are_data_sets_of_one_kind(name: str) -> None:
    """Both splits have the same inputs and targets, and no sample of the test is one of the training."""
    train, test = (load_data(name, split) for split in (Split.TRAIN, Split.TEST))
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.shape[1:] == test.labels.shape[1:]
    first = next(iter(train.inputs))
    assert {key: x.shape[1:] for key, x in train.inputs.items()} == {key: x.shape[1:] for key, x in test.inputs.items()}
    known = {sample.tobytes() for sample in train.inputs[first]}
    # People of the karate club are told apart by whose side is told: few of the ways to draw them are new in the test.
    assert name == "karate-club" or not any(sample.tobytes() in known for sample in test.inputs[first])


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("karate-club", "8a666a5033ac0629"),
        ("point-digits", "b465b415be615269"),
        ("scattered-boxes", "564d21e01dc98c2f"),
        ("scattered-classes", "9ae58c2b471f5bf3"),
        ("scattered-masks", "b945f9250865a5ed"),
        ("waveforms", "2cde1c7ee547bc19"),
    ],
)
def test_the_test_split_is_the_same_on_every_machine(name: str, digest: str) -> None:
    """The content is pinned by its hash, so that published figures stay comparable; text is that of each Python."""
    assert load_data(name, Split.TEST).digest().startswith(digest)


def test_points_lie_where_the_digit_has_ink() -> None:
    """Every point is in a pixel of its image that is not black."""
    points = load_data("point-digits", Split.TEST).inputs["points"]
    images = load_data("digits", Split.TEST).inputs["images"]
    place = np.clip(np.floor((points.astype(np.float64) + 1) * 4).astype(int), 0, 7)
    assert np.abs(points).max() <= 1
    assert all((image[0][y, x] > 0).all() for image, (x, y) in zip(images, place, strict=True))


def test_labels_are_the_next_characters() -> None:
    """A window's labels are its characters moved by one, and go on in the next window."""
    text = load_data("python-text", Split.TEST)
    characters = text.inputs["characters"]
    assert text.labels is not None
    np.testing.assert_array_equal(text.labels.reshape(-1)[:-1], characters.reshape(-1)[1:])
    assert characters.max() < len(ALPHABET) == len(set(ALPHABET))
    assert " the " in "".join(ALPHABET[place] for place in characters.reshape(-1))


def test_boxes_and_masks_agree_with_the_classes() -> None:
    """Each mask is the pixels of its class in its box, boxes are tight, and nothing else is marked."""
    boxes, classes, masks = (load_data(f"scattered-{kind}", Split.TEST) for kind in ("boxes", "classes", "masks"))
    assert boxes.labels is not None
    assert classes.labels is not None
    assert masks.labels is not None
    np.testing.assert_array_equal(masks.labels[:, :, :5], boxes.labels)
    for picture, rows in zip(classes.labels, masks.labels, strict=True):
        drawn = np.zeros((32, 32), np.int64)
        for row in rows[rows[:, 0] >= 0]:
            mask = row[5:].reshape(32, 32) > 0
            y, x = np.nonzero(mask)
            assert row[1:5].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert not drawn[mask].any()
            drawn[mask] = 1 + int(row[0])
        np.testing.assert_array_equal(drawn, picture)


def test_people_asked_for_in_the_test_are_new() -> None:
    """Nobody whose side the test asks for was asked for, or told, in training."""
    train, test = (load_data("karate-club", split) for split in (Split.TRAIN, Split.TEST))
    assert train.labels is not None
    assert test.labels is not None
    asked = (test.labels >= 0).any(axis=0)
    assert asked.sum() == 14
    for dataset, sides in itertools.product((train, test), (0, 1)):
        told = dataset.inputs["people"][:, :, sides] > 0
        assert (told.sum(axis=1) == 2).all()
        assert not told[:, asked].any()
    assert not (train.labels[:, asked] >= 0).any()
    graph = train.inputs["graph"][0]
    np.testing.assert_allclose(graph, graph.T)
    # D^(−1/2)·(A + I)·D^(−1/2) has the eigenvalue 1, its largest.
    assert np.linalg.eigvalsh(graph.astype(np.float64)).max() == pytest.approx(1, abs=1e-6)
