from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.data import Dataset, Split, channel_statistics, load_data, statistics


@given(samples=st.integers(1, 9), block=st.integers(1, 4), offset=st.sampled_from([0.0, 1e6]))
def test_statistics_are_those_of_all_values_of_a_channel(samples: int, block: int, offset: float) -> None:
    """Whatever blocks the samples are read in, also far off centre."""
    x = offset + np.random.default_rng(samples).normal(size=(samples, 3, 2, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_BLOCK", block)
        found = channel_statistics(Dataset("d", {"x": x, "ids": np.arange(samples)}))
    assert list(found) == ["x"]
    # 90 values at most, rounded to 2⁻⁵³ of their size a handful of times.
    assert found["x"]["mean"] == pytest.approx(x.mean(axis=(0, 2, 3)), rel=1e-13, abs=1e-13)
    assert found["x"]["std"] == pytest.approx(x.std(axis=(0, 2, 3)), rel=1e-13 + 1e-15 * offset)


def test_one_axis_is_one_channel_and_flat_inputs_can_be_left_out() -> None:
    """Inputs (N,) have a channel too; a record asks for images and signals alone."""
    dataset = Dataset("d", {"x": np.array([1.0, 3.0]), "rows": np.ones((2, 4)), "images": np.ones((2, 3, 2))})
    assert channel_statistics(dataset)["x"] == {"mean": [2.0], "std": [1.0]}
    assert list(channel_statistics(dataset, least_axes=3)) == ["images"]


def test_standardized_data_have_the_training_splits_scale(tmp_path: Path) -> None:
    """Both splits by the training split's statistics; a constant channel is centred; labels and integers stay."""
    random = np.random.default_rng(1)
    train, test = (3 + 2 * random.normal(size=(n, 2, 4)) for n in (50, 7))
    train[:, 1] = test[:, 1] = 5
    names: dict[str, Any] = {"x": train, "test_x": test, "n": np.arange(50), "test_n": np.arange(7)}
    np.savez(tmp_path / "d.npz", y=np.arange(50), test_y=np.arange(7), **names)
    spec = f"standardized:npz:{tmp_path / 'd.npz'}"
    found = [load_data(spec, split) for split in Split]
    assert found[0].name == f"standardized:npz:{tmp_path / 'd.npz'}"
    for dataset, raw in zip(found, (train, test), strict=True):
        expected = (raw[:, 0] - train[:, 0].mean()) / train[:, 0].std()
        np.testing.assert_allclose(dataset.inputs["x"][:, 0], expected, rtol=1e-12, atol=1e-12)
        assert not dataset.inputs["x"][:, 1].any()
        np.testing.assert_array_equal(dataset.inputs["n"], np.arange(len(raw)))
        np.testing.assert_array_equal(dataset.labels, np.arange(len(raw)))
    assert load_data("standardized:digits", Split.TEST).inputs["images"].dtype == np.float32
