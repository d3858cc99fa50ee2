"""The self-test: wrong candidates are made, are wrong in the way they say, and are caught; or the verdict says so."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from bnfold.progress import silent
from bnfold.verify import Verdict, verify
from bnfold.verify.meta_mutant import MetaMutant
from bnfold.verify.mutants import Mistake, mutants
from bnfold.verify.mutation import Expected, excess, try_mutants
from bnfold.verify.oracle import Oracle
from bnfold.verify.tolerance import Size
from tests.verify.graphs import EPSILON, images, model, network, random_layers, right, saved


def by_mistake(
    candidate: onnx.ModelProto, original: onnx.ModelProto | None, count: int = 100
) -> dict[Mistake, set[str]]:
    """Return the nodes that each mistake is made in."""
    source = None if original is None else ir.from_proto(original)
    found: dict[Mistake, set[str]] = {}
    for mutant in mutants(ir.from_proto(candidate), source, count):
        found.setdefault(mutant.mistake, set()).add(mutant.node)
    return found


def test_every_mistake_is_made_in_every_layer() -> None:
    """With the original at hand: all six, each in all three convolutions of the folded graph."""
    layers = random_layers()
    found = by_mistake(network(layers, right), network(layers))
    assert found == {mistake: {"conv0", "conv1", "conv2"} for mistake in Mistake}


def test_without_the_original_its_statistics_are_not_made_up() -> None:
    """A bundle has no variance and no epsilon to get wrong."""
    found = by_mistake(network(random_layers(), right), None)
    assert found.keys() == set(Mistake) - {Mistake.WRONG_EPSILON, Mistake.BIASED_VARIANCE}


def test_normalizations_that_were_kept_have_mistakes_of_their_own() -> None:
    """The unfolded graph as its own candidate."""
    found = by_mistake(network(random_layers()), network(random_layers()))
    assert found[Mistake.WRONG_EPSILON] >= {"bn0", "bn1", "bn2"}


def test_they_are_few_spread_and_always_the_same() -> None:
    """Eight of eighteen: every kind once before any comes twice, in more than one layer."""
    layers = random_layers()
    candidate, original = ir.from_proto(network(layers, right)), ir.from_proto(network(layers))
    first, again = (mutants(candidate, original, 8) for _ in range(2))
    assert [(each.mistake, each.node) for each in first] == [(each.mistake, each.node) for each in again]
    assert set(Counter(each.mistake for each in first).values()) == {1, 2}
    assert len({each.node for each in first}) == 3


@pytest.mark.parametrize("mistake", Mistake)
def test_a_mutant_is_the_mistake_that_it_says(mistake: Mistake) -> None:
    """Each is the fold as a wrong formula makes it, in one layer: the outputs are those of that fold by hand."""
    layers = random_layers()
    candidate, original = ir.from_proto(network(layers, right)), ir.from_proto(network(layers))
    mutant = next(m for m in mutants(candidate, original, 100) if (m.mistake, m.node) == (mistake, "conv1"))
    together = MetaMutant(candidate, [mutant])
    layer = layers[1]
    weight, bias = layer.folded()
    scale = layer.gamma / np.sqrt(layer.variance + EPSILON)
    one = np.where(np.arange(6) == bias.argmax(), 1.01, 1.0)
    wrong_epsilon, biased = np.sqrt((layer.variance + EPSILON) / (layer.variance + 1e-5)), np.sqrt(32 / 31)
    expected = {
        Mistake.WRONG_EPSILON: (weight * wrong_epsilon[:, None, None, None], bias * wrong_epsilon),
        Mistake.BIASED_VARIANCE: (weight * biased, bias * biased),
        Mistake.UNSCALED_BIAS: (weight, bias / scale),
        Mistake.SWAPPED_GROUP: (weight * (np.roll(scale, 3) / scale)[:, None, None, None], bias),
        Mistake.CHANNEL_SCALE: (weight * one[:, None, None, None], bias * one),
        Mistake.DROPPED_BORDER: (weight, bias - weight.sum(axis=(1, 2, 3))),
    }[mistake]
    node, fed = next(node for node in together.model.graph if node.name == "conv1"), together.feeds(mutant)
    found = [
        fed.get(value.name or "", value.const_value.numpy())
        for value in node.inputs[1:]
        if value is not None and value.const_value is not None
    ]
    for array, right_one in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, right_one, rtol=1e-6, atol=1e-6)
    assert (node.inputs[0].name == "relu0") is (mistake is not Mistake.DROPPED_BORDER)  # pyright: ignore[reportOptionalMemberAccess]  (Conv has an input)
    names = [value.name for value in candidate.graph.initializers.values()]
    assert not any("mutant" in (name or "") for name in names)  # the candidate itself is left alone


def test_a_dropped_border_is_wrong_at_the_border_only() -> None:
    """A shift carried through padding: inside nothing changes but roundings."""
    layer = random_layers()[0]
    nodes = [helper.make_node("Conv", ["images", "w", "b"], ["y"], name="conv", pads=[1] * 4)]
    tensors = {"w": layer.weight.astype(np.float32), "b": layer.bias.astype(np.float32)}
    candidate = ir.from_proto(model(nodes, {"images": ["N", 3, 12, 12]}, {"y": ["N", 8, 12, 12]}, tensors))
    mutant = next(m for m in mutants(candidate, None, 100) if m.mistake is Mistake.DROPPED_BORDER)
    together = MetaMutant(candidate, [mutant])
    oracle = Oracle(together.model)
    plain, wrong = (oracle.run({**images(2), **fed})["y"] for fed in ({}, together.feeds(mutant)))
    np.testing.assert_array_equal(plain, Oracle(candidate).run(images(2))["y"])
    difference = np.abs(wrong - plain)
    assert difference[:, :, 1:-1, 1:-1].max() < 1e-5
    assert difference[:, :, 0].max() > 0.1


def test_a_right_fold_catches_them(tmp_path: Path) -> None:
    """On a network and inputs that show faults all are killed, and the report says so."""
    layers = random_layers()
    files = saved(network(layers), tmp_path / "a.onnx"), saved(network(layers, right), tmp_path / "b.onnx")
    report = verify(*files, images(8))
    assert report.mutation is not None
    assert (report.verdict, report.mutation.kill_rate, len(report.mutation.trials)) == (Verdict.EQUIVALENT, 1.0, 8)
    assert report.mutation.words == "8 of 8 wrong candidates were caught on these inputs."
    document = report.to_dict()["mutation"]
    assert (document["killed"], {mutant["kind"] for mutant in document["mutants"]}) == (8, set(Mistake))


def test_weights_of_every_size_in_side_files(tmp_path: Path) -> None:
    """Small ones go into the graph of all mutants, whose files stay open for the other steps."""
    layers, paths = random_layers(), (tmp_path / "a.onnx", tmp_path / "b.onnx")
    for path, proto in zip(paths, (network(layers), network(layers, right)), strict=True):
        onnx.save(proto, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    report = verify(*paths, images(8))
    assert report.mutation is not None
    assert (report.verdict, report.mutation.kill_rate) == (Verdict.EQUIVALENT, 1.0)


def test_catching_nothing_ends_with_4(tmp_path: Path) -> None:
    """An output that is the same whatever the weights are: every mutant survives, and nothing can be concluded."""
    layers = random_layers()
    deaf = []
    for fold in (None, right):
        proto = network(layers, fold)
        for node in proto.graph.node:
            node.output[:] = ["loud" if name == "logits" else name for name in node.output]
        weak = [
            helper.make_node("Mul", ["loud", "tiny"], ["quiet"]),
            helper.make_node("Add", ["quiet", "one"], ["logits"]),
        ]
        proto.graph.node.extend(weak)
        for name, value in (("tiny", 1e-9), ("one", 1.0)):
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))
        deaf.append(saved(proto, tmp_path / f"{len(deaf)}.onnx"))
    report = verify(deaf[0], deaf[1], images(8))
    assert (report.verdict, report.exit_code) == (Verdict.INCONCLUSIVE, 4)
    assert "self-test" in {finding.about for finding in report.findings}
    assert report.mutation is not None
    assert (report.mutation.kill_rate, "not caught: wrong epsilon in " in report.mutation.words) == (0.0, True)


def test_no_mutants_on_request(tmp_path: Path) -> None:
    """Who asks for none gets a verdict without the self-test."""
    layers = random_layers()
    files = saved(network(layers), tmp_path / "a.onnx"), saved(network(layers, right), tmp_path / "b.onnx")
    report = verify(*files, images(8), mutants=0)
    assert (report.mutation, report.to_dict()["mutation"], report.exit_code) == (None, None, 0)


def test_a_graph_without_weights_has_no_mutants(tmp_path: Path) -> None:
    """There is nothing to get wrong, and no rate to report."""
    path = saved(model([helper.make_node("Abs", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]}), tmp_path / "a.onnx")
    report = verify(path, path, {"x": np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)})
    assert report.mutation is not None
    assert (report.mutation.kill_rate, report.mutation.trials, report.exit_code) == (None, (), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_right_candidate_is_not_killed(dtype: type[np.floating]) -> None:
    """The checker of the checker: a mutant that is no mutant survives, also where the CPU has no kernel to run it."""
    candidate = ir.from_proto(network(random_layers(), right, dtype=dtype))
    inputs, plan = {"images": images(4)["images"].astype(dtype)}, [slice(0, 1), slice(1, 4)]
    batches = [Oracle(candidate).run({"images": inputs["images"][where]}) for where in plan]
    harmless = mutants(candidate, None, 1)[0]
    nothing = replace(harmless, changes={slot: lambda old: old for slot in harmless.changes})
    expected = Expected(batches, {"logits": Size(1e-4, 1e-4)})
    found = try_mutants(candidate, [nothing, harmless], inputs, plan, expected, silent)
    assert [trial.killed for trial in found.trials] == [False, True]


def test_a_bias_that_only_the_graph_knows_is_left_alone(tmp_path: Path) -> None:
    """A Gemm adds what another node computed, and a Conv has no bias: each has the mistakes that it can have."""
    generator = np.random.default_rng(0)
    tensors = {
        "w": generator.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "v": generator.normal(size=(6, 5)).astype(np.float32),
        "u": generator.normal(size=(6, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "u"], ["m"], name="matmul"),
        helper.make_node("Gemm", ["f", "v", "m"], ["y"], name="gemm"),
    ]
    proto = model(nodes, {"images": ["N", 3, 12, 12]}, {"y": ["N", 5]}, tensors)
    found = by_mistake(proto, None)
    assert found[Mistake.DROPPED_BORDER] == {"conv"}
    assert found[Mistake.CHANNEL_SCALE] == {"conv", "matmul", "gemm"}
    assert Mistake.UNSCALED_BIAS not in found
    path = saved(proto, tmp_path / "a.onnx")
    report = verify(path, path, images(8))
    assert report.mutation is not None
    assert (report.verdict, report.mutation.killed) == (Verdict.EQUIVALENT, 7)


def test_a_part_never_exceeds_what_the_whole_does_not() -> None:
    """An error of rms 2 in one of four batches is 1 over all: it does not exceed a limit of 1.5, whatever follows."""
    batches = [{"y": np.zeros((1, 10))} for _ in range(4)]
    expected = Expected(batches, {"y": Size(1.5, 9.0)})
    wrong = {"y": np.full((1, 10), 2.0)}
    assert excess(wrong, batches[0], expected) == pytest.approx(1 / 1.5)
    assert excess({"y": np.full((1, 10), 10.0)}, batches[0], expected) > 1
    assert excess({"y": np.full((1, 10), np.nan)}, batches[0], expected) == np.inf
    assert excess({"y": np.zeros((1, 9))}, batches[0], expected) == np.inf
