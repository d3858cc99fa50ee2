"""Tests of ``bnfold.verify`` as a whole."""

import subprocess
import sys

from bnfold import verify


def test_public_names() -> None:
    """The package's face: a name that is added or lost is added or lost on purpose."""
    assert verify.__all__ == [
        "EdgeCases",
        "Finding",
        "Oracle",
        "Provider",
        "Range",
        "Verdict",
        "VerificationReport",
        "edge_cases",
        "random_inputs",
        "verify",
        "verify_bundle",
    ]
    assert all(getattr(verify, name).__name__ == name for name in verify.__all__)


def test_importing_it_loads_neither_torch_nor_a_runtime() -> None:
    """Both are heavy, and neither is there where only folding is wanted."""
    code = "import sys, bnfold.verify, bnfold.bench; print(sorted({'torch', 'onnxruntime'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
