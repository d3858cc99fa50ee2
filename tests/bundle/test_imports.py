"""Tests that the bundle's format depends on neither of the packages that know it."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("bnfold.bundle", ("numpy", "onnx", "onnx_ir", "safetensors", "torch")),
        ("bnfold.json_text", ("numpy", "onnx", "onnx_ir", "torch")),
        ("bnfold.bundle.reader", ("bnfold.export", "bnfold.verify", "onnxruntime", "torch")),
        ("bnfold.verify", ("bnfold.export",)),
    ],
)
def test_imports_point_one_way(module: str, absent: tuple[str, ...]) -> None:
    """Names of files cost nothing to know, and what verifies does not need what exports."""
    script = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
