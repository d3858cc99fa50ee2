"""Tests of the configuration for Triton."""

from bnfold.bundle.manifest import Port
from bnfold.export.triton import triton_config


def test_a_varying_batch_is_the_servers_to_fill() -> None:
    """Extents are those of a sample, -1 where they vary, and requests may be joined."""
    inputs = (Port("images", "float", ("batch", 3, "height", 32)), Port("flags", "bool", ("batch",)))
    text = triton_config(inputs, (Port('say "scores"', "float16", ("batch", 10)),), largest_batch=8)
    assert text.split("\n", 1)[1] == (
        'backend: "onnxruntime"\n'
        "max_batch_size: 8\n"
        'input {\n  name: "images"\n  data_type: TYPE_FP32\n  dims: [3, -1, 32]\n}\n'
        'input {\n  name: "flags"\n  data_type: TYPE_BOOL\n  dims: [1]\n  reshape { shape: [ ] }\n}\n'
        'output {\n  name: "say \\"scores\\""\n  data_type: TYPE_FP16\n  dims: [10]\n}\n'
        "# Requests are joined to batches: `bnfold verify` holds every sample to the same outputs in any batch.\n"
        "dynamic_batching { }\n"
    )


def test_extents_that_are_no_batch_are_left_as_they_are() -> None:
    """A fixed batch, one that an output does not have, and ports that vary apart: whole shapes, nothing is joined."""
    for inputs, outputs in (
        ((Port("x", "float", (1, 3)),), (Port("y", "float", (1, 10)),)),
        ((Port("x", "float", ("nodes", 3)),), (Port("y", "float", ()),)),
        ((Port("x", "float", ("n", 3)), Port("a", "float", ("m", 3))), (Port("y", "float", ("n", 3)),)),
    ):
        text = triton_config(inputs, outputs, largest_batch=8)
        assert "max_batch_size: 0\n" in text
        assert "dynamic_batching" not in text
        assert text.count("dims: ") == len(inputs) + len(outputs)
    assert "dims: [1]\n  reshape { shape: [ ] }" in triton_config((), (Port("y", "float", ()),), largest_batch=8)


def test_what_is_fused_for_the_cpu_stays_there() -> None:
    """By default, Triton takes a GPU where there is one."""
    ports = (Port("x", "float", ("batch", 3)),)
    told = "instance_group [ { kind: KIND_CPU } ]\n"
    assert triton_config(ports, ports, largest_batch=8, cpu_only=True).endswith(told)
    assert "instance_group" not in triton_config(ports, ports, largest_batch=8)


def test_what_triton_has_no_word_for_is_left_to_the_server() -> None:
    """It asks the model for what the configuration does not say."""
    for odd in (Port("x", "float", None), Port("x", "complex64", ("batch", 3))):
        text = triton_config((odd,), (Port("y", "float", ("batch", 2)),), largest_batch=4)
        assert "input" not in text
        assert "output {" not in text
