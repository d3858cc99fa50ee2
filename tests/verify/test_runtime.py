import gc
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx import helper

from bnfold.errors import AttestationError, InputError, MissingDependencyError
from bnfold.verify.attestation import attest
from bnfold.verify.diagnosis import what_is_missing
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import onnxruntime_module, open_session
from tests.verify.graphs import images, model, network, random_layers, saved

DEVICES = [Provider.CUDA, Provider.TENSORRT]


@pytest.fixture(scope="module")
def unfolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a network with three normalizations."""
    return saved(network(random_layers()), tmp_path_factory.mktemp("runtime") / "unfolded.onnx")


@pytest.fixture
def absent_device(request: pytest.FixtureRequest) -> Provider:
    """Return a provider that cannot load on this machine; where it can, there is no failure to look at."""
    provider: Provider = request.param
    if not what_is_missing(onnxruntime_module(), provider):
        pytest.skip(f"{provider} loads on this machine")
    return provider


def test_without_optimizations_every_node_runs(unfolded: Path) -> None:
    """The baseline session keeps the normalizations as nodes of their own; the other one folds them."""
    operators = {}
    for optimized in (False, True):
        with open_session(unfolded, optimized=optimized, record=True) as session:
            session.run(images(2))
            operators[optimized] = [node.op_type for node in session.placement.executed]
    assert operators[False].count("BatchNormalization") == 3
    assert operators[True].count("BatchNormalization") == 0


def test_placement_on_the_cpu_is_recorded_and_attested(unfolded: Path) -> None:
    """This machine's own record: every node was assigned to and ran on the CPU, which attests the CPU and no other."""
    with open_session(unfolded, optimized=False, record=True) as session:
        session.run(images(2))
        placement = session.placement
    assert [node.name for node in placement.assigned] == [node.name for node in placement.executed]
    assert len(placement.assigned) == 11
    assert {node.provider for node in (*placement.assigned, *placement.executed)} == {"CPUExecutionProvider"}
    assert attest(Provider.CPU, placement) == ()
    assert any("bn0 (BatchNormalization)" in words for words in attest(Provider.CUDA, placement))


def test_a_session_that_does_not_record_attests_nothing(unfolded: Path) -> None:
    """Without a record there is no placement to go by, and none is made up."""
    with open_session(unfolded, optimized=True) as session:
        session.run(images(2))
        assert "the runtime recorded 0 assigned and 0 executed nodes" in attest(Provider.CPU, session.placement)


def test_one_session_takes_changing_shapes(unfolded: Path) -> None:
    """Recording ends with the first run; later runs of other sizes give each sample the same result."""
    with open_session(unfolded, optimized=True, record=True) as session:
        seven = session.run(images(7))["logits"]
        two = session.run({"images": images(7)["images"][:2]})["logits"]
    assert (seven.shape, two.shape) == ((7, 10), (2, 10))
    np.testing.assert_allclose(two, seven[:2], rtol=1e-5)


def test_bytes_are_as_good_as_a_file(unfolded: Path) -> None:
    """A model in memory runs like the same in a file."""
    with (
        open_session(unfolded, optimized=False) as file,
        open_session(unfolded.read_bytes(), optimized=False) as memory,
    ):
        np.testing.assert_array_equal(file.run(images(3))["logits"], memory.run(images(3))["logits"])


def test_nothing_is_left_on_disk(unfolded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles are removed after the first run, and also if there never is one, or the session fails to open."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_session(unfolded, optimized=True, record=True) as session:
        session.run(images(2))
        assert not list(tmp_path.iterdir())
    with open_session(unfolded, optimized=True, record=True):
        pass
    with pytest.raises(InputError, match="cannot load it"):
        open_session(b"not a model", optimized=True, record=True)
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_model_that_the_runtime_refuses_is_one_line(tmp_path: Path) -> None:
    """What the runtime says about a broken file comes with the file's name, on one line."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07garbage")
    with pytest.raises(InputError, match=r"broken\.onnx: ONNX Runtime on cpu cannot load it: ") as caught:
        open_session(path, optimized=True)
    assert "\n" not in str(caught.value)


def test_a_node_that_fails_is_one_line() -> None:
    """An error while running names the node, as the runtime does."""
    node = helper.make_node("Add", ["x", "c"], ["y"], name="sum")
    proto = model([node], {"x": ["N"]}, {"y": ["N"]}, {"c": np.ones(3, np.float32)})
    with (
        open_session(proto.SerializeToString(), optimized=False) as session,
        pytest.raises(InputError, match=r"ONNX Runtime on cpu: .*'sum'"),
    ):
        session.run({"x": np.ones(2, np.float32)})


@pytest.mark.parametrize("absent_device", DEVICES, indirect=True)
def test_a_device_that_is_not_there_is_never_silent(
    absent_device: Provider, unfolded: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Asking for it raises, with exit code 3, what is missing and what to install, and prints nothing."""
    with pytest.raises(AttestationError, match=f"--provider {absent_device}: nothing ran there: ") as caught:
        open_session(unfolded, absent_device, optimized=True, record=True)
    assert caught.value.exit_code == 3
    assert "bnfold[cuda]" in str(caught.value) or "driver" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("absent_device", DEVICES, indirect=True)
def test_what_is_missing_comes_with_what_to_do(absent_device: Provider) -> None:
    """Every phrase says how to get what it misses."""
    missing = what_is_missing(onnxruntime_module(), absent_device)
    assert all("install" in phrase or "sees no GPU" in phrase for phrase in missing)
    assert what_is_missing(onnxruntime_module(), Provider.CPU) == ()


def test_a_missing_runtime_says_how_to_get_it(unfolded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ONNX Runtime the message names the extras that bring it; it is bad input, exit code 2."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'bnfold\[gpu\]'.*'bnfold\[cpu\]'") as caught:
        open_session(unfolded, optimized=True)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        (
            "raise ImportError('libonnx.so.1: cannot open shared object file:\\nNo such file or directory')",
            "ImportError: libonnx.so.1: cannot open shared object file: No such file or directory",
        ),
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("raise SystemError", "SystemError"),
        ("import numpy; numpy._ARRAY_API_OF_ANOTHER_VERSION", "AttributeError: module 'numpy' has no attribute"),
    ],
)
def test_a_runtime_that_cannot_be_imported_says_why(
    failing: str, words: str, unfolded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed and broken is not the same as absent: the reason is told, in one line, with exit code 2."""
    (tmp_path / "onnxruntime.py").write_text(failing)
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError) as caught:
        open_session(unfolded, optimized=True)
    assert str(caught.value).startswith(f"ONNX Runtime is installed and cannot be imported: {words}")
    assert "--force-reinstall 'bnfold[gpu]'" in str(caught.value)
    assert ("\n" in str(caught.value), caught.value.exit_code) == (False, 2)


def test_a_broken_runtime_says_how_to_mend_it(unfolded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What remains when one of two distributions is uninstalled imports, and is good for nothing."""
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(
        MissingDependencyError, match=r"ONNX Runtime is broken.*pip uninstall onnxruntime onnxruntime-gpu"
    ):
        open_session(unfolded, optimized=True)


@pytest.mark.parametrize("before", [None, "1"])
def test_the_environment_comes_back_as_it_was(
    before: str | None, unfolded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TF32 is off while a session is opened and run, and the user's own setting is back afterwards."""
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if before is not None:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", before)
    with open_session(unfolded, optimized=True) as session:
        session.run(images(2))
    assert os.environ.get("NVIDIA_TF32_OVERRIDE") == before


def test_bound_calls_compute_what_a_run_does(unfolded: Path) -> None:
    """The outputs are bit by bit those of the same session, call after call."""
    with open_session(unfolded, optimized=True, threads=1) as session:
        expected = session.run(images(3))
        call = session.bound(images(3), expected)
        for _ in range(2):
            call()
            found = call.outputs()
            assert all(np.array_equal(found[name], array) for name, array in expected.items())


def test_what_does_not_fit_cannot_be_bound(unfolded: Path) -> None:
    """The runtime's own message, in one line."""
    with open_session(unfolded, optimized=True) as session:
        outputs = session.run(images(3))
        with pytest.raises(InputError, match="ONNX Runtime on cpu: "):
            session.bound({"absent": np.zeros(3, np.float32)}, outputs)


def test_a_session_records_as_many_runs_as_asked_for(unfolded: Path) -> None:
    """Each kernel tells which run it was in and how long it took; what runs later is not recorded."""
    with open_session(unfolded, optimized=False, record=True, recorded=2) as session:
        for _ in range(3):
            session.run(images(2))
        executed = session.placement.executed
    runs = [[node.name for node in executed if node.run == run] for run in (0, 1, 2)]
    assert runs[0] == runs[1] != []
    assert runs[2] == []
    assert sum(node.seconds for node in executed) > 0
