import sys
from pathlib import Path

import numpy as np
import pytest

from bnfold.bench import startup
from bnfold.bench.memory import peak_resident, resident
from bnfold.bench.setting import Mode, Setting
from bnfold.errors import AttestationError, InputError
from bnfold.verify.provider import Provider
from tests.verify.graphs import images, network, random_layers, saved

SETTING = Setting(Provider.CPU, 1, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_this_process() -> None:
    """Sixty-four megabytes that are written appear in what the process holds, and in its peak after they are gone."""
    before = resident()
    block = np.ones(8 * 1024 * 1024)
    held, most = resident(), 0.9 * block.nbytes
    del block
    peak = peak_resident()
    assert before is not None
    assert held is not None
    assert peak is not None
    # Linux adds up what threads have touched from time to time, hence not all of it.
    assert held - before > most
    assert peak - before > most


def test_a_start_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Load and first call take time; the memory is the model's alone: less than this process holds."""
    path = saved(network(random_layers()), tmp_path / "model.onnx")
    found = startup.start(path, images(4), SETTING, Mode())
    assert found.load > 0
    assert found.first_call > 0
    here = peak_resident()
    assert (found.memory is None) == (here is None)
    assert found.memory is None or here is None or 0 < found.memory < here


def test_what_fails_in_the_child_is_said_here(tmp_path: Path) -> None:
    """A file that is no model, and a provider that is not here, are the same errors as in this process."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"broken\.onnx: ONNX Runtime on cpu cannot load it"):
        startup.start(broken, {}, SETTING, Mode())
    with pytest.raises(AttestationError, match="--provider tensorrt"):
        startup.start(broken, {}, Setting(Provider.TENSORRT, None, 1), Mode())


def test_a_child_that_dies_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line of complaint is the message."""
    monkeypatch.setattr(startup, "write_arrays", lambda *_: None)
    with pytest.raises(InputError, match=r"model\.onnx: the process that was to load it ended with 1: .*inputs\.npz"):
        startup.start(tmp_path / "model.onnx", {}, SETTING, Mode())
