import numpy as np
import pytest

from bnfold.data import Batch, Dataset
from bnfold.data.augment import Crop, Flip, augmented, parse_augmentations, require_images
from bnfold.errors import InputError

IMAGES = np.arange(6 * 2 * 4 * 5, dtype=np.float32).reshape(6, 2, 4, 5) + 1


def change(batch: Batch, names: list[str], places: list[int], *, step: int = 3) -> Batch:
    """Return a batch of samples of a minibatch of six, changed."""
    return augmented(
        batch, parse_augmentations(names), seed=7, step=step, samples=6, places=np.array(places, dtype=np.int64)
    )


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    """Every corner is met, and each image is moved as a whole, zeros coming in at the border."""
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (1, 1), (1, 1)))
    met: set[tuple[int, int]] = set()
    for step in range(20):
        drawn = Crop(1).draw(np.random.default_rng(step), 6)
        moved = Crop(1).change(IMAGES, drawn)
        for sample, (top, left) in enumerate(drawn):
            np.testing.assert_array_equal(moved[sample], padded[sample, :, top : top + 4, left : left + 5])
            met.add((int(top), int(left)))
    assert met == {(top, left) for top in range(3) for left in range(3)}


def test_a_flip_mirrors_one_image_of_two() -> None:
    """Left and right change places in some, and nothing happens to the others."""
    drawn = Flip().draw(np.random.default_rng(0), 1000)
    # 1000 tosses: within five standard deviations, √250 each, of a half.
    assert abs(drawn.sum() - 500) < 5 * 250**0.5
    found = Flip().change(IMAGES, np.array([True, False] * 3))
    np.testing.assert_array_equal(found[::2], IMAGES[::2, :, :, ::-1])
    np.testing.assert_array_equal(found[1::2], IMAGES[1::2])


def test_what_is_drawn_follows_from_seed_step_and_place() -> None:
    """Whoever computes some of the samples gets what the whole minibatch would have given; another step differs."""
    batch = Batch({"x": IMAGES, "n": np.arange(6)}, np.arange(6))
    whole = change(batch, ["crop:2", "flip"], list(range(6)))
    for places in ([0, 1, 2], [3, 4, 5], [5, 0]):
        part = Batch({"x": IMAGES[places], "n": np.arange(6)[places]}, None)
        np.testing.assert_array_equal(change(part, ["crop:2", "flip"], places).inputs["x"], whole.inputs["x"][places])
    assert not np.array_equal(whole.inputs["x"], IMAGES)
    assert not np.array_equal(whole.inputs["x"], change(batch, ["crop:2", "flip"], list(range(6)), step=4).inputs["x"])
    np.testing.assert_array_equal(whole.inputs["n"], np.arange(6))
    assert whole.labels is batch.labels
    assert change(batch, [], list(range(6))) is batch


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flipp", r"augment: no 'flipp', did you mean 'flip'\?; expected crop:PIXELS, flip"),
        ("crop", "augment: no 'crop'"),
        ("crop:0", "augment: no 'crop:0'"),
        ("crop:-1", "augment: no 'crop:-1'"),
    ],
)
def test_unknown_names_are_refused(name: str, words: str) -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match=words):
        parse_augmentations([name])


def test_data_without_images_cannot_be_augmented() -> None:
    """An augmentation that would change nothing is a mistake."""
    require_images(Dataset("d", {"x": IMAGES}))
    with pytest.raises(InputError, match=r"augment: d has no images \(N, .*\), only x \(6, 40\)"):
        require_images(Dataset("d", {"x": IMAGES.reshape(6, -1)}))
