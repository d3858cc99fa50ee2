"""Tests that what reads and writes ONNX files stands on its own."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["bnfold.export", "bnfold.bundle.reader", "bnfold.verify", "bnfold.graph"])
def test_neither_torch_nor_the_runtime_is_imported(module: str) -> None:
    """Each module is imported first, so that no cycle hides behind another order."""
    script = f"import sys, {module}; print([name for name in ('torch', 'onnxruntime') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
