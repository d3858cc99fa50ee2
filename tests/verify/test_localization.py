"""A fault in any one node is found and named; a right fold has none; what cannot be matched is said."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from bnfold.folding import Objective, fold
from bnfold.verify import localization
from bnfold.verify.evidence import load_for_comparison
from bnfold.verify.exact import ExactFold, exact_folds
from bnfold.verify.localization import Localization, References, TooLarge, localize
from tests.verify.graphs import EPSILON, images, model, network, random_layers, right, saved

WIDTH, DEPTH = 4, 50

Arrays = dict[str, np.ndarray[Any, Any]]


def deep_network() -> onnx.ModelProto:
    """Return 50 layers Conv → BatchNormalization → Relu of width 4, every second pair with a shortcut, and a head."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    tensors: Arrays = {}
    value = "x"
    for index in range(DEPTH):
        names = {name: f"{name}{index}" for name in ("weight", "gamma", "beta", "mean", "variance")}
        tensors[names["weight"]] = rng.normal(size=(WIDTH, WIDTH, 3, 3)) * np.sqrt(2 / (9 * WIDTH))
        tensors |= {names["gamma"]: rng.uniform(0.5, 1.5, WIDTH), names["variance"]: rng.uniform(0.5, 2, WIDTH)}
        tensors |= {names["beta"]: rng.normal(size=WIDTH), names["mean"]: rng.normal(size=WIDTH)}
        statistics = [names[name] for name in ("gamma", "beta", "mean", "variance")]
        conv, norm = f"conv{index}", f"bn{index}"
        nodes.append(helper.make_node("Conv", [value, names["weight"]], [conv], name=conv, pads=[1] * 4))
        nodes.append(helper.make_node("BatchNormalization", [conv, *statistics], [norm], name=norm, epsilon=EPSILON))
        if index % 4 == 3:
            nodes.append(helper.make_node("Add", [norm, value], [f"add{index}"], name=f"add{index}"))
            norm = f"add{index}"
        value = f"relu{index}"
        nodes.append(helper.make_node("Relu", [norm], [value], name=value))
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"], name="pooled"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"))
    tensors["head"] = rng.normal(size=(WIDTH, 5))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["y"], name="y"))
    stored = {name: array.astype(np.float32) for name, array in tensors.items()}
    return model(nodes, {"x": ["N", WIDTH, 6, 6]}, {"y": ["N", 5]}, stored)


@dataclass(frozen=True)
class Case:
    """An original, its fold as a file would hold it, the exact folds, and one sample."""

    original: ir.Model
    folded: onnx.ModelProto
    folds: tuple[ExactFold, ...]
    inputs: Arrays

    @cached_property
    def references(self) -> References:
        """What the values are matched with, evaluated once."""
        return References.of(self.original, self.folds, self.inputs)

    def localized(self, candidate: onnx.ModelProto) -> Localization:
        """Look for the fault in ``candidate``."""
        return localize(ir.from_proto(candidate), self.references, 0)


@pytest.fixture(scope="module")
def deep() -> Case:
    """Return the deep network, folded by the product."""
    proto = deep_network()
    folded = ir.from_proto(proto)
    fold(folded)
    original = ir.from_proto(proto)
    inputs = {"x": np.random.default_rng(1).normal(size=(1, WIDTH, 6, 6)).astype(np.float32)}
    return Case(original, ir.to_proto(folded), exact_folds(original, folded), inputs)


def copied(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy to plant a fault in."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def planted(proto: onnx.ModelProto, node: int) -> onnx.ModelProto:
    """Return ``proto`` with a small fault in one node: one channel off by a hundredth, or another operator."""
    proto = copied(proto)
    faulty = proto.graph.node[node]
    if faulty.op_type in {"Conv", "MatMul"}:
        (tensor,) = (each for each in proto.graph.initializer if each.name == faulty.input[1])
        weight = numpy_helper.to_array(tensor).copy()
        channel = (1,) if faulty.op_type == "Conv" else (slice(None), 1)  # its inputs may be dead one by one, not all
        weight[channel] *= 1.01
        tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    else:
        operator = {"Relu": "Tanh", "Add": "Sub", "GlobalAveragePool": "GlobalMaxPool", "Flatten": "Flatten"}
        faulty.op_type = operator[faulty.op_type]
    return proto


def test_a_right_fold_has_no_fault(deep: Case) -> None:
    """All values are matched through their gauges, and none differs by more than roundings."""
    found = deep.localized(deep.folded)
    assert [fold.same_structure for fold in deep.folds] == [True]
    assert (found.first_fault, found.unmatched, found.reference) == (None, (), "bnfold's fold, latency")
    assert len(found.nodes) == len(deep.folded.graph.node)
    assert "No node introduces more error" in found.words


def test_a_fault_in_any_one_node_is_found(deep: Case) -> None:
    """Over all nodes of fifty layers: the first node at fault is the one, and it is the only one."""
    for position, node in enumerate(deep.folded.graph.node):
        if node.op_type == "Flatten":  # of (N, 4, 1, 1) it has no wrong form that runs
            continue
        found = deep.localized(planted(deep.folded, position))
        fault = found.first_fault
        assert fault is not None, node.name
        assert fault.nodes == (node.name,)
        assert sum(not each.passed for each in found.nodes) == 1, node.name
        assert node.name in found.words


def test_introduced_is_told_from_propagated(deep: Case) -> None:
    """Before the fault there is no error; behind it there is, and none of it is the later nodes' own."""
    sums = [position for position, node in enumerate(deep.folded.graph.node) if node.op_type == "Add"]
    found = deep.localized(planted(deep.folded, sums[4]))
    faulty = next(index for index, node in enumerate(found.nodes) if not node.passed)
    fault = found.nodes[faulty]
    # Behind a right prefix all error is the node's own, but for the roundings that the prefix propagates.
    assert fault.introduced is not None
    assert fault.total.rms == pytest.approx(fault.introduced.rms, rel=0.01)
    assert all(node.total.rms < 1e-4 * node.size.rms for node in found.nodes[:faulty])
    behind = [node for node in found.nodes[faulty + 1 :] if node.op_type == "Conv"]
    assert all(node.introduced and node.total.rms > 10 * node.introduced.rms for node in behind)


@pytest.mark.parametrize("objective", list(Objective))
def test_scaled_and_shifted_values_are_compared_through_their_gauge(tmp_path: Path, objective: Objective) -> None:
    """BN → Relu → Conv: the values between carry scales other than 1, and are matched; a fault there is found."""
    rng = np.random.default_rng(5)
    statistics = {"g": rng.uniform(0.5, 2, 3), "b": rng.normal(size=3), "m": rng.normal(size=3), "v": np.ones(3)}
    weights = {"w1": rng.normal(size=(3, 3, 1, 1)), "w2": rng.normal(size=(6, 3, 1, 1))}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["first"], name="first"),
        helper.make_node("Relu", ["first"], ["r"], name="r"),
        helper.make_node("BatchNormalization", ["r", *statistics], ["n"], name="n", epsilon=EPSILON),
        helper.make_node("Conv", ["n", "w2"], ["y"], name="second"),
    ]
    tensors = {name: array.astype(np.float32) for name, array in {**statistics, **weights}.items()}
    proto = model(nodes, {"x": ["N", 3, 5, 4]}, {"y": ["N", 6, 5, 4]}, tensors)
    original = load_for_comparison(saved(proto, tmp_path / "a.onnx"))
    folded = ir.from_proto(proto)
    fold(folded, objective)
    case = Case(
        original,
        ir.to_proto(folded),
        exact_folds(original, folded),
        {"x": rng.normal(size=(1, 3, 5, 4)).astype(np.float32)},
    )
    found = case.localized(case.folded)
    assert (found.first_fault, found.unmatched) == (None, ())
    gauge = next(node.gauge for node in found.nodes if node.value == "r")
    assert gauge is not None
    fault = case.localized(planted(case.folded, len(case.folded.graph.node) - 1)).first_fault
    assert fault is not None
    assert fault.nodes == ("second",)


def test_folds_of_other_tools_are_matched_by_name() -> None:
    """A hand-made fold whose convolutions take the normalizations' names carries the original's own values."""
    layers = random_layers()
    original = ir.from_proto(network(layers))
    foreign = network(layers, right)
    for node in foreign.graph.node:
        if node.op_type == "Conv":
            node.output[0] = node.output[0].replace("conv", "bn")
        if node.op_type == "Relu":
            node.input[0] = node.input[0].replace("conv", "bn")
    candidate = ir.from_proto(foreign)
    folds = exact_folds(original, candidate)
    assert not any(each.same_structure for each in folds)
    case = Case(original, foreign, folds, {"images": images(1)["images"]})
    found = case.localized(foreign)
    assert (found.reference, found.first_fault, found.unmatched) == ("the original", None, ())
    fault = case.localized(planted(foreign, 2)).first_fault
    assert fault is not None
    assert fault.nodes == ("conv1",)


def test_what_cannot_be_matched_is_said_and_judged_with_the_next(deep: Case) -> None:
    """A value under a name of its own is no fault; a fault there is blamed on it and the next node together."""
    renamed = copied(deep.folded)
    for node in renamed.graph.node:
        node.output[:] = ["unheard-of" if name == "conv7" else name for name in node.output]
        node.input[:] = ["unheard-of" if name == "conv7" else name for name in node.input]
    position = next(i for i, node in enumerate(renamed.graph.node) if node.name == "conv7")
    found = deep.localized(renamed)
    assert (found.first_fault, found.unmatched) == (None, ("unheard-of",))
    assert "1 could not be matched" in found.words
    fault = deep.localized(planted(renamed, position)).first_fault
    assert fault is not None
    assert fault.nodes == ("conv7", renamed.graph.node[position + 1].name)
    assert "or one of conv7 before it" in deep.localized(planted(renamed, position)).words


def test_a_graph_with_names_of_its_own_names_no_node(deep: Case) -> None:
    """Where nothing can be matched, no node is blamed."""
    renamed = copied(deep.folded)
    outputs = {output.name for output in renamed.graph.output}
    computed = {name for node in renamed.graph.node for name in node.output} - outputs
    rename: Callable[[str], str] = lambda name: f"own/{name}" if name in computed else name  # noqa: E731  (a formula)
    for node in renamed.graph.node:
        node.output[:], node.input[:] = map(rename, node.output), map(rename, node.input)
    found = deep.localized(renamed)
    assert [node.value for node in found.nodes] == ["y"]
    assert len(found.unmatched) == len(computed)


def test_what_is_too_large_is_said(deep: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on memory: values beyond it are not held, and the report says that no node was looked for."""
    monkeypatch.setattr(localization, "LARGEST", 10_000)
    with pytest.raises(TooLarge):
        References.of(deep.original, deep.folds, deep.inputs)
    assert "No node was looked for" in Localization("", 0, (), (), too_large=True).words
