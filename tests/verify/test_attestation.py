from dataclasses import replace

import pytest

from bnfold.verify.attestation import attest
from bnfold.verify.placement import PlacedNode, Placement
from bnfold.verify.provider import Provider
from tests.verify.recordings import CPU, CUDA, FLOAT, INTEGER, ON_CUDA, TENSORRT, moved


def findings(placement: Placement, provider: Provider = Provider.CUDA) -> str:
    """Return all that speaks against ``placement``."""
    return "; ".join(attest(provider, placement))


def test_work_on_cuda_with_shape_arithmetic_on_the_cpu_is_attested() -> None:
    """Extents are computed on the CPU on every device; that alone is no fall-back."""
    assert findings(ON_CUDA) == ""


@pytest.mark.parametrize("only", [None, "assigned", "executed"])
def test_a_normalization_on_the_cpu_is_caught(only: str | None) -> None:
    """One node of the work elsewhere, in the assignment, in the profile or in both: not attested, and named."""
    words = findings(moved(ON_CUDA, "bn", CPU, only=only))
    assert f"bn (BatchNormalization) on {CPU}" in words


def test_a_session_on_the_cpu_is_caught() -> None:
    """The library did not load, and the session was built for the CPU alone."""
    on_cpu = ON_CUDA
    for node in ON_CUDA.executed:
        on_cpu = moved(on_cpu, node.name, CPU)
    words = findings(replace(on_cpu, providers=(CPU,)))
    assert f"the session was built for {CPU}, not for {CUDA}" in words
    assert f"no node ran on {CUDA}" in words


def test_a_fall_back_while_running_is_caught() -> None:
    """Providers and assignment are as asked, yet the kernels ran on the CPU."""
    on_cpu = tuple(replace(node, provider=CPU) for node in ON_CUDA.executed)
    words = findings(replace(ON_CUDA, executed=on_cpu))
    assert f"no node ran on {CUDA}" in words
    assert "and 2 more ran elsewhere" in words


def test_shape_operators_on_data_are_caught() -> None:
    """A Concat of feature maps is work, though a Concat of extents is not."""
    node = PlacedNode("join", "Concat", CPU, FLOAT)
    assert f"join (Concat) on {CPU}" in findings(replace(ON_CUDA, executed=(*ON_CUDA.executed, node)))
    assert findings(replace(ON_CUDA, executed=(*ON_CUDA.executed, replace(node, outputs=INTEGER)))) == ""


def test_a_node_of_unknown_output_is_no_shape_arithmetic() -> None:
    """Where the profile does not tell what a node produced, it is taken for work."""
    node = PlacedNode("join", "Concat", CPU)
    assert f"join (Concat) on {CPU}" in findings(replace(ON_CUDA, executed=(*ON_CUDA.executed, node)))


def test_a_large_integer_operator_is_work() -> None:
    """Integers alone do not make shape arithmetic: a quantized convolution on the CPU is caught."""
    node = PlacedNode("qconv", "ConvInteger", CPU, ("int32",))
    assert f"qconv (ConvInteger) on {CPU}" in findings(replace(ON_CUDA, executed=(*ON_CUDA.executed, node)))


@pytest.mark.parametrize("field", ["assigned", "executed"])
def test_missing_records_are_caught(field: str) -> None:
    """Nothing recorded is nothing attested."""
    assert "the runtime recorded" in findings(replace(ON_CUDA, **{field: ()}))


def test_no_providers_at_all_is_caught() -> None:
    """A placement that nobody recorded attests nothing."""
    assert "no provider, not for" in findings(Placement((), {}, (), ()))


def test_tensorrt_that_hands_its_work_to_cuda_is_caught() -> None:
    """CUDA is in the session as TensorRT's helper; work that ran there did not run on TensorRT."""
    words = findings(replace(ON_CUDA, providers=(TENSORRT, CUDA, CPU)), Provider.TENSORRT)
    assert f"no node ran on {TENSORRT}" in words
