"""The four silent fall-backs of ONNX Runtime, each in a whole verification: exit code 3, and what to do about it."""

import sys
from pathlib import Path

import pytest

from bnfold.errors import AttestationError
from bnfold.verify import Provider, Verdict, VerificationReport, diagnosis, trial, verify
from bnfold.verify.run import run_here
from tests.verify.graphs import images, network, random_layers, right, saved
from tests.verify.recorded_runtime import Recording, loader, recorded_runtime, to
from tests.verify.recordings import CPU, CUDA, TENSORRT

DRIVER, TENSORRT_LIBRARY = "libcuda.so.1", "libnvinfer.so.10"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the names of the libraries are Linux's")


class Machine:
    """A machine whose runtime, driver and libraries are recorded."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        layers = random_layers()
        self._files = saved(network(layers), folder / "a.onnx"), saved(network(layers, right), folder / "b.onnx")
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(trial, "run_apart", run_here)  # what is recorded is so in this process only

    def verify(
        self, recording: Recording, provider: Provider = Provider.CUDA, *libraries: str, devices: int = 1
    ) -> VerificationReport:
        """Verify a right fold there; the loader knows ``libraries``, by default all that there can be."""
        self._monkeypatch.setitem(sys.modules, "onnxruntime", recorded_runtime(recording))
        load = loader(*(libraries or (DRIVER, TENSORRT_LIBRARY)), devices=devices)
        self._monkeypatch.setattr(diagnosis.ctypes, "CDLL", load)
        return verify(*self._files, images(8), provider=provider, mutants=0)

    def refused(
        self, recording: Recording, provider: Provider = Provider.CUDA, *libraries: str, devices: int = 1
    ) -> str:
        """Return what the verification says that could not be attested."""
        with pytest.raises(AttestationError) as caught:
            self.verify(recording, provider, *libraries, devices=devices)
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine with a right fold on it."""
    return Machine(tmp_path, monkeypatch)


def test_where_nothing_falls_back_the_work_is_attested(machine: Machine) -> None:
    """The control: the same recording without a fall-back passes, on CUDA and on TensorRT."""
    report = machine.verify(Recording())
    assert (report.verdict, report.exit_code, report.placement.counts().keys()) == (Verdict.EQUIVALENT, 0, {CUDA})
    fused = Recording(assigned=to(TENSORRT), executed=to(TENSORRT))
    assert machine.verify(fused, Provider.TENSORRT).exit_code == 0


def test_a_runtime_built_without_the_provider_is_named(machine: Machine) -> None:
    """1, library load: the distribution for the CPU is installed, and builds its session there."""
    words = machine.refused(Recording(available=[CPU], providers=[CPU]))
    assert words.startswith(f"--provider cuda: nothing ran there: the session fell back to {CPU}; ")
    assert f"is built without {CUDA} (pip uninstall onnxruntime, then pip install 'bnfold[cuda]')" in words


@pytest.mark.parametrize("missing", ["libcudnn.so.9", "libcublasLt.so.13"])
def test_a_library_that_does_not_load_is_named(machine: Machine, missing: str) -> None:
    """1, library load: the runtime logs it, if at all, and goes on without the provider."""
    why = "cannot open shared object file: No such file or directory"
    words = machine.refused(Recording(unloaded={f"/opt/cuda/lib/{missing}": why}, providers=[CPU]))
    assert f"CUDA 13.0 libraries {missing} not found (pip install 'bnfold[cuda]')" in words
    assert "driver" not in words


def test_a_driver_that_is_not_there_is_named(machine: Machine) -> None:
    """1, library load: a container without the GPU."""
    words = machine.refused(Recording(providers=[CPU]), Provider.CUDA, "libother.so")
    assert (
        f"no NVIDIA driver ({DRIVER} not found; install the driver, or give the container access to the GPU)" in words
    )


def test_a_driver_without_a_device_is_named(machine: Machine) -> None:
    """1, library load: the driver is there, its devices are hidden."""
    assert "the NVIDIA driver sees no GPU" in machine.refused(Recording(providers=[CPU]), devices=0)


def test_a_missing_tensorrt_is_named_though_cuda_takes_its_place(machine: Machine) -> None:
    """1, library load: the session comes up for CUDA, which was asked for as a helper."""
    words = machine.refused(Recording(providers=[CUDA, CPU]), Provider.TENSORRT, DRIVER)
    assert f"the session fell back to {CUDA}, {CPU}; TensorRT library {TENSORRT_LIBRARY} not found (install" in words


def test_a_session_for_another_provider_is_named(machine: Machine) -> None:
    """2, session construction: all libraries load, and yet it is the CPU's."""
    words = machine.refused(Recording(providers=[CPU]))
    assert words.endswith(f"the session fell back to {CPU}; bnfold doctor tries what it needs, one by one.")


def test_a_node_on_another_provider_is_named(machine: Machine) -> None:
    """3, node placement: one operator without a kernel there, in assignment and profile."""
    pooling = {"GlobalAveragePool": CPU}
    report = machine.verify(Recording(to(CUDA, **pooling), to(CUDA, **pooling)))
    assert (report.verdict, report.exit_code) == (Verdict.NOT_ATTESTED, 3)
    (ran, assigned) = [finding.words for finding in report.findings]
    assert ran == f"--provider cuda: pool (GlobalAveragePool) on {CPU} ran elsewhere than {CUDA}"
    assert assigned.startswith(f"--provider cuda: pool (GlobalAveragePool) on {CPU} assigned elsewhere than {CUDA} (no")
    assert "another --precision or --opset (bnfold export), or install a newer onnxruntime-gpu" in assigned
    assert f"pool (GlobalAveragePool) on {CPU}" in report.to_dict()["placement"]["elsewhere"]


def test_what_tensorrt_leaves_to_cuda_is_named(machine: Machine) -> None:
    """3, node placement: CUDA helps TensorRT out, silently."""
    report = machine.verify(
        Recording(to(TENSORRT, Relu=CUDA), to(TENSORRT, Relu=CUDA, GlobalAveragePool=CUDA)), Provider.TENSORRT
    )
    assert report.exit_code == 3
    assert f"pool (GlobalAveragePool) on {CUDA} ran elsewhere than {TENSORRT}" in report.findings[0].words


def test_a_provider_that_fails_is_not_run_elsewhere(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """4, run: ONNX Runtime's own repetition on the CPU is off, or this would pass."""
    words = machine.refused(Recording(failure="CUDA failure 2: out of memory"))
    assert words.startswith("ONNX Runtime on cuda: ")
    assert "CUDA failure 2: out of memory" in words
    assert "Falling back" not in "".join(capfd.readouterr())


def test_a_run_elsewhere_is_told_from_a_placement(machine: Machine) -> None:
    """4, run: every node was assigned to the device, and the profile has them on the CPU."""
    report = machine.verify(Recording(executed=to(CPU)))
    assert report.exit_code == 3
    nothing, ran = (finding.words for finding in report.findings)
    assert nothing == f"--provider cuda: no node ran on {CUDA}"
    assert "(none was assigned there: a run that failed was repeated; give it more memory, or smaller batches)" in ran
