"""Files that are larger than memory: what is not rewritten is neither held nor copied."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.folding.builder import Builder

FOLD = """
from pathlib import Path
from bnfold.folding import fold
from bnfold.graph import load, save
model = load(Path("model.onnx"))
assert fold(model).removed_count == 1
save(model, Path("folded.onnx"))
"""

MEGABYTE = 2**20


def chain(layers: int, channels: int) -> ir.Model:
    """Gemm → Relu, again and again, with one normalization behind the first."""
    b = Builder(dtype=np.float32)
    x = b.input("N", channels)
    for layer in range(layers):
        x = b("Gemm", x, b.stored(np.full((channels, channels), 1.0 / channels)))
        x = b("Relu", x if layer else b.batch_norm(x, channels))
    return b.model(x)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA limits private memory on Linux")
def test_a_file_larger_than_the_memory_it_may_use(tmp_path: Path) -> None:
    """1 GB of external data, of which one weight of 64 MB changes, folds with 600 MB of private memory in all."""
    ir.save(chain(16, 4096), tmp_path / "model.onnx", external_data="model.onnx.data")
    assert (tmp_path / "model.onnx.data").stat().st_size >= 1024 * MEGABYTE

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (600 * MEGABYTE, 600 * MEGABYTE))

    command = [sys.executable, "-c", FOLD]
    run = subprocess.run(command, cwd=tmp_path, preexec_fn=limited, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert (tmp_path / "folded.onnx.data").stat().st_size >= 1024 * MEGABYTE
