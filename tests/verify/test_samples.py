import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bnfold.errors import InputError
from bnfold.verify.samples import LARGEST_BATCH, Range, batch_of, batches, joined, random_inputs
from tests.verify.graphs import model, network, random_layers


@given(samples=st.integers(3, 200))
def test_batches_cover_every_sample_once_in_order(samples: int) -> None:
    """Sizes are one, two, and then the largest; nothing is left out or seen twice."""
    plan = batches(samples, None)
    assert [index for where in plan for index in range(where.start, where.stop)] == list(range(samples))
    sizes = [where.stop - where.start for where in plan]
    assert sizes[:2] == [1, 2]
    assert max(sizes) <= LARGEST_BATCH


@given(batch=st.integers(1, 9), count=st.integers(0, 9))
def test_fixed_batches_are_all_of_that_size(batch: int, count: int) -> None:
    """A graph with a fixed batch sees nothing else."""
    plan = batches(batch * count, batch)
    assert [where.stop - where.start for where in plan] == [batch] * count


def test_few_samples_still_make_two_shapes() -> None:
    """Two samples are seen alone and together; one alone; none not at all."""
    assert batches(2, None) == [slice(0, 1), slice(0, 2)]
    assert batches(1, None) == [slice(0, 1)]
    assert batches(0, None) == []


def test_batches_join_to_what_they_were_cut_from() -> None:
    """Cutting and joining are inverse; scalars go into every batch."""
    arrays = {"x": np.arange(14).reshape(7, 2), "scale": np.array(3.0)}
    parts = [batch_of(arrays, where) for where in batches(7, None)]
    assert all(part["scale"] == 3 for part in parts)
    np.testing.assert_array_equal(joined([{"x": part["x"]} for part in parts])["x"], arrays["x"])


def test_outputs_of_changing_shape_are_joined_flat() -> None:
    """Where the second axis grows with the batch, every number is still there, in order."""
    parts = [{"y": np.arange(2).reshape(1, 2)}, {"y": np.arange(2, 8).reshape(2, 3)}, {"y": np.array(8)}]
    assert joined(parts)["y"].tolist() == list(range(9))
    assert joined([]) == {}


def test_random_inputs_fit_the_graph_and_their_seed() -> None:
    """Shape and type are the graph's; the values are the same for the same seed only."""
    graph = ir.from_proto(network(random_layers()))
    first, again, other = (random_inputs(graph, 50, seed)["images"] for seed in (0, 0, 1))
    assert (first.shape, first.dtype) == ((50, 3, 12, 12), np.float32)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_every_random_sample_has_a_mean_and_a_spread_of_its_own() -> None:
    """Within a sample normal; spreads from a quarter to four, means of size one: averages tell the samples apart."""
    first = random_inputs(ir.from_proto(network(random_layers())), 50, 0)["images"].reshape(50, -1).astype(np.float64)
    spread, mean = first.std(axis=1), first.mean(axis=1)
    # A deviation of 432 values is known to one part in 29; five times that is allowed.
    assert 0.25 * 0.83 < spread.min() < 0.5
    assert 2 < spread.max() < 4 * 1.17
    assert 0.5 < mean.std() < 1.5
    standard = (first - mean[:, None]) / spread[:, None]
    assert abs((standard**4).mean() - 3) < 0.25  # the fourth moment of a normal value, of 21600


def test_random_inputs_stay_within_a_range() -> None:
    """Real numbers and integers, both bounds reached; the other inputs are what they would be."""
    nodes = [helper.make_node("Abs", ["x"], ["y"])]
    tokens = ir.from_proto(model(nodes, {"x": ["N", 9]}, {"y": ["N", 9]}, dtype=TensorProto.INT64))
    drawn = random_inputs(tokens, 100, 0, {"x": Range(3, 7.5)})["x"]
    assert (drawn.dtype, drawn.min(), drawn.max()) == (np.int64, 3, 7)
    pixels = random_inputs(ir.from_proto(network(random_layers())), 50, 0, {"images": Range(0, 255)})["images"]
    assert (pixels.dtype, pixels.min() >= 0, pixels.max() <= 255, pixels.max() > 254) == (np.float32, True, True, True)


def test_a_range_is_for_an_input_that_there_is() -> None:
    """A misspelt name, bounds in the wrong order or infinite: bad input, and what there is."""
    graph = ir.from_proto(network(random_layers()))
    with pytest.raises(InputError, match="range for image: the graph has no such input; it has images"):
        random_inputs(graph, 2, 0, {"image": Range(0, 1)})
    for low, high in ((1.0, 0.0), (0.0, np.inf), (np.nan, 1.0)):
        with pytest.raises(InputError, match="expected two finite numbers, the smaller one first"):
            Range(low, high)


def test_random_inputs_fill_whole_batches() -> None:
    """Five samples for batches of four are eight."""
    graph = ir.from_proto(network(random_layers(), batch=4))
    assert random_inputs(graph, 5, 0)["images"].shape == (8, 3, 12, 12)


def test_random_inputs_need_known_extents() -> None:
    """A symbolic axis besides the leading one is for the user to fill."""
    graph = ir.from_proto(model([helper.make_node("Abs", ["x"], ["y"])], {"x": ["N", "L"]}, {"y": ["N", "L"]}))
    with pytest.raises(InputError, match=r"input x float\[N, L\]: not all extents are known; pass data"):
        random_inputs(graph, 2, 0)


def test_random_inputs_need_floating_point() -> None:
    """Indices have a range that the graph does not tell."""
    nodes = [helper.make_node("Abs", ["x"], ["y"])]
    graph = ir.from_proto(model(nodes, {"x": ["N"]}, {"y": ["N"]}, dtype=TensorProto.INT64))
    told = (
        r"input x int64\[N\]: random values exist for floating point only; pass data for it \(--data; .*--range x=LO:HI"
    )
    with pytest.raises(InputError, match=told):
        random_inputs(graph, 2, 0)
