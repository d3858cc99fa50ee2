import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.data import Batch, Dataset
from bnfold.errors import InputError


def numbered(samples: int) -> Dataset:
    """Return a data set whose values tell which sample they come from."""
    index = np.arange(samples)
    left = np.broadcast_to(index[:, None, None], (samples, 2, 3)).astype(np.float32)
    return Dataset("numbered", {"left": left, "right": index[:, None] * 10}, index * 100)


def labels_of(batch: Batch) -> list[int]:
    """Return the labels of a batch that has some."""
    assert batch.labels is not None
    return batch.labels.tolist()


def test_length_and_inputs_are_those_of_the_arrays() -> None:
    """A data set reports the common length and keeps its inputs by name."""
    dataset = numbered(7)
    assert len(dataset) == 7
    assert {name: array.shape for name, array in dataset.inputs.items()} == {"left": (7, 2, 3), "right": (7, 1)}


@given(samples=st.integers(1, 40), batch_size=st.integers(1, 50), drop_last=st.booleans())
def test_batches_hold_every_sample_once_in_order(samples: int, batch_size: int, drop_last: bool) -> None:
    """Batches cut the data without loss or overlap, inputs with labels; drop_last leaves out only a short last one."""
    batches = list(numbered(samples).batches(batch_size, drop_last=drop_last))
    kept = samples - samples % batch_size if drop_last else samples
    seen = [int(label) // 100 for batch in batches for label in labels_of(batch)]
    assert seen == list(range(kept))
    assert [int(row[0]) // 10 for batch in batches for row in batch.inputs["right"]] == seen
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert [len(batch) for batch in batches] == [
        cut.stop - cut.start for cut in numbered(samples).batch_ranges(batch_size, drop_last=drop_last)
    ]


@given(order=st.permutations(range(11)), batch_size=st.integers(1, 12), length=st.integers(1, 11))
def test_batches_follow_an_order_that_leaves_samples_out(order: list[int], batch_size: int, length: int) -> None:
    """An order picks the samples, with inputs and labels kept together."""
    chosen = np.array(order[:length])
    batches = list(numbered(11).batches(batch_size, order=chosen))
    assert [int(value) for batch in batches for value in batch.inputs["left"][:, 0, 0]] == order[:length]
    assert [int(label) // 100 for batch in batches for label in labels_of(batch)] == order[:length]


def test_take_returns_the_first_samples() -> None:
    """The taken part is a data set of its own with the first samples."""
    taken = numbered(5).take(3)
    assert taken.labels is not None
    assert taken.labels.tolist() == [0, 100, 200]
    assert taken.inputs["right"][:, 0].tolist() == [0, 10, 20]


@pytest.mark.parametrize("count", [0, -1, 6])
def test_take_refuses_what_is_not_there(count: int) -> None:
    """Neither nothing nor more than everything can be taken."""
    with pytest.raises(InputError, match=rf"^numbered: cannot take {count} of 5 samples\.$"):
        numbered(5).take(count)


def test_a_batch_size_below_one_is_refused() -> None:
    """Batches of no samples would never end."""
    with pytest.raises(InputError, match="batch size: expected at least 1, found 0"):
        list(numbered(5).batches(0))


def test_arrays_become_contiguous_and_native() -> None:
    """Reversed, strided and big-endian arrays are accepted and come out as torch takes them, values unchanged."""
    backwards = np.arange(12.0).reshape(3, 4)[::-1, ::2]
    big_endian = np.array([3, 1, 2], dtype=">i4")
    dataset = Dataset("odd", {"x": backwards}, big_endian)
    assert dataset.labels is not None
    assert dataset.inputs["x"].flags.c_contiguous
    assert dataset.inputs["x"].tolist() == [[8, 10], [4, 6], [0, 2]]
    assert dataset.labels.dtype.isnative
    assert dataset.labels.tolist() == [3, 1, 2]


def test_inputs_cannot_be_exchanged() -> None:
    """What was checked stays: the mapping is read-only and apart from the caller's."""
    arrays = {"x": np.zeros((2, 1))}
    dataset = Dataset("fixed", arrays)
    arrays["y"] = np.zeros((3, 1))
    assert list(dataset.inputs) == ["x"]
    with pytest.raises(TypeError, match="does not support item assignment"):
        dataset.inputs["x"] = np.ones((2, 1))  # pyright: ignore[reportIndexIssue]  (what the test shows)


X = np.zeros((2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("inputs", "labels", "words"),
    [
        ({}, None, "bad: no inputs; expected an array"),
        ({"x": np.zeros((0, 3))}, None, "bad: empty, expected at least one sample"),
        ({"x": X, "z": np.zeros((4, 3))}, None, "bad: z has 4 samples, but x has 2"),
        ({"x": X}, np.zeros(3), "bad: labels has 3 samples, but x has 2"),
        ({"x": np.array([None, "a"])}, None, "bad: x holds object values, expected numbers"),
        ({"x": np.array(["a", "b"])}, None, "bad: x holds <U1 values, expected numbers"),
        ({"x": X.astype(np.complex64)}, None, "bad: x holds complex64 values, expected numbers"),
        ({"x": np.float32(1.0) * np.ones(())}, None, "bad: x is a scalar|bad: x is of type"),
        ({"x": [[1.0], [2.0]]}, None, "bad: x is of type list, expected a NumPy array"),
        ({"x": np.array([[0.0], [np.nan]])}, None, "bad: x holds NaN or infinity, first in sample 1"),
        ({"x": np.array([[np.inf], [0.0]])}, None, "bad: x holds NaN or infinity, first in sample 0"),
        ({"x": X}, np.array([0.0, np.nan]), "bad: labels holds NaN or infinity, first in sample 1"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(inputs: dict[str, np.ndarray], labels: np.ndarray, words: str) -> None:
    """Each kind of broken data is named with the array and what is wrong with it."""
    with pytest.raises(InputError, match=rf"^({words})") as caught:
        Dataset("bad", inputs, labels)
    assert "\n" not in str(caught.value)


def test_digest_tells_contents_apart_and_nothing_else() -> None:
    """Equal names, types, shapes and values have an equal digest; a change of any of them is seen."""
    x, y = np.arange(6, dtype=np.int32).reshape(2, 3), np.array([1, 0])
    digest = Dataset("a", {"x": x}, y).digest()
    assert Dataset("b", {"x": x[::-1].copy()[::-1]}, y.astype(y.dtype.newbyteorder())).digest() == digest
    others = [
        Dataset("a", {"z": x}, y),
        Dataset("a", {"x": x.astype(np.int64)}, y),
        Dataset("a", {"x": x.reshape(2, 3, 1)}, y),
        Dataset("a", {"x": x + 1}, y),
        Dataset("a", {"x": x}, y[::-1]),
        Dataset("a", {"x": x}),
    ]
    assert digest not in {other.digest() for other in others}
    assert len({other.digest() for other in others}) == len(others)
