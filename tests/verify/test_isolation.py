"""A configuration in a process of its own: the same results, the same placement, and a sentence when it dies."""

import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

from bnfold.errors import AttestationError, InputError
from bnfold.progress import silent
from bnfold.verify import isolation
from bnfold.verify.attestation import attest
from bnfold.verify.configuration import Configuration
from bnfold.verify.environment import DEVICE_KEYS, environment
from bnfold.verify.isolation import read_arrays, run_apart, write_arrays
from bnfold.verify.provider import Provider
from bnfold.verify.run import run_here
from tests.verify.graphs import images, model, network, random_layers, saved

CPU = Configuration(Provider.CPU)


def test_only_the_cpu_runs_here() -> None:
    """A device's libraries stay out of this process."""
    assert [Configuration(provider).isolated for provider in Provider] == [False, True, True]


def test_a_child_says_what_this_process_says(tmp_path: Path) -> None:
    """This machine's CPU, in a process of its own: outputs, placement node by node, and it is attested."""
    path = saved(network(random_layers()), tmp_path / "a.onnx")
    batches = [images(2), images(3)]
    here = run_here(path, CPU, batches, silent)
    apart = run_apart(path, CPU, batches, silent, "apart")
    assert len(apart.batches) == 2
    for ours, theirs in zip(here.batches, apart.batches, strict=True):
        np.testing.assert_allclose(ours["logits"], theirs["logits"], rtol=1e-5)
    assert apart.placement.assigned == here.placement.assigned
    assert apart.placement.kernels().keys() == {"CPUExecutionProvider"}  # which kernels is for the optimizer to choose
    assert attest(Provider.CPU, apart.placement) == ()
    assert apart.device.keys() == set(DEVICE_KEYS)


def test_a_batch_that_fails_keeps_those_before(tmp_path: Path) -> None:
    """What the candidate did until then comes back with the reason."""
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"])
    proto = model([reshape], {"x": ["N", 4]}, {"y": ["M", 4]}, {"shape": np.array([1, 4])})
    batches = [{"x": np.ones((rows, 4), np.float32)} for rows in (1, 2)]
    run = run_apart(saved(proto, tmp_path / "a.onnx"), CPU, batches, silent, "apart")
    assert len(run.batches) == 1
    assert run.failure is not None
    assert run.failure.startswith("ONNX Runtime on cpu: ")


def test_errors_keep_their_kind(tmp_path: Path) -> None:
    """A model that the runtime refuses is bad input there as here."""
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07garbage")
    with pytest.raises(InputError, match="cannot load it"):
        run_apart(tmp_path / "broken.onnx", CPU, [images(2)], silent, "apart")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os; os.abort()", "ended with signal 6"),
        (
            "import sys; sys.stderr.write('driver: no such\\ndevice'); sys.exit(7)",
            "ended with exit code 7: driver: no such device",
        ),
    ],
)
def test_a_crash_is_not_attested_and_tells_why(
    program: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that dies ends with exit code 3 and what it said last."""
    monkeypatch.setattr(isolation, "command", lambda _: [sys.executable, "-c", program])
    path = saved(network(random_layers()), tmp_path / "a.onnx")
    with pytest.raises(AttestationError, match=words) as caught:
        run_apart(path, Configuration(Provider.CUDA), [images(2)], silent, "apart")
    assert caught.value.exit_code == 3


def test_arrays_of_every_type_cross_over(tmp_path: Path) -> None:
    """Halves of both kinds, integers and booleans, under any name, come back as they went."""
    arrays = {
        "a/b.c": np.arange(3, dtype=ml_dtypes.bfloat16),
        "half": np.arange(3, dtype=np.float16),
        "names": np.array([True, False]),
        "scalar": np.array(5),
    }
    write_arrays(tmp_path / "x.npz", arrays)
    found = read_arrays(tmp_path / "x.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_took_no_part_has_no_version() -> None:
    """The report names CUDA, cuDNN, driver and device, and none of them where the work was the CPU's."""
    here = environment({})
    assert {key: here[key] for key in DEVICE_KEYS} == dict.fromkeys(DEVICE_KEYS)
    assert here["python"] == sys.version.split()[0]
    assert environment({"device": "a GPU"})["device"] == "a GPU"
