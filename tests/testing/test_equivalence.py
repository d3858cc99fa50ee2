import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bnfold.errors import InputError
from bnfold.testing import NotEquivalentError, assert_equivalent
from bnfold.verify import Verdict
from tests.verify.graphs import images, network, random_layers, right, saved, wrong_epsilon

HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "torch")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A network of three layers."""
    return saved(network(random_layers()), tmp_path / "original.onnx")


def test_the_same_function_passes_and_returns_its_report(original: Path, tmp_path: Path) -> None:
    """Files by path or by text, drawn inputs."""
    candidate = saved(network(random_layers(), right), tmp_path / "folded.onnx")
    report = assert_equivalent(str(original), candidate, samples=9, seed=3)
    assert (report.verdict, report.samples) == (Verdict.EQUIVALENT, 9)
    assert report.edge_cases


def test_models_in_memory_are_compared_as_files_are(original: Path) -> None:
    """ModelProto and onnx_ir models, with inputs of one's own."""
    folded = network(random_layers(), right)
    assert assert_equivalent(onnx.load(original), ir.from_proto(folded), inputs=images(6)).samples == 6


def test_a_failure_tells_what_a_person_needs(original: Path, tmp_path: Path) -> None:
    """Which file, what is wrong, by how much, on what, with what, and the command that shows more."""
    candidate = saved(network(random_layers(), wrong_epsilon), tmp_path / "folded.onnx")
    with pytest.raises(NotEquivalentError) as caught:
        assert_equivalent(original, candidate, samples=9, seed=3)
    message = str(caught.value)
    assert message.splitlines()[0] == f"{candidate} does not compute what {original} does, on cpu"
    assert "output logits: the candidate's graph or weights are wrong, before any runtime" in message
    assert re.search(r"as stored, in float64 +\S+ +\S+   no\n", message)
    assert "compared: 90 numbers of 9 samples" in message
    assert f"onnx {onnx.__version__}" in message
    command = f"bnfold verify {original} {candidate} --provider cpu --samples 9 --seed 3 --report verify.html"
    assert f"look closer: {command}" in message
    assert caught.value.report.verdict is Verdict.NOT_EQUIVALENT


def test_hollow_inputs_fail_and_say_so(original: Path) -> None:
    """A comparison that could not have failed is no pass."""
    zeros = {"images": np.zeros((4, 3, 12, 12), np.float32)}
    with pytest.raises(
        NotEquivalentError, match=r"these inputs cannot show whether onnx_b \(in memory\) computes what"
    ):
        assert_equivalent(original, onnx.load(original), inputs=zeros)


def test_bad_input_is_no_assertion(original: Path) -> None:
    """A misspelt provider or a missing file is an error of the test, not a failure of the model."""
    with pytest.raises(InputError, match=r"provider 'gpu': expected one of cpu, cuda, tensorrt"):
        assert_equivalent(original, original, provider="gpu")
    with pytest.raises(InputError, match=r"none\.onnx: no such file"):
        assert_equivalent(original, "none.onnx")


def test_what_is_no_model_is_a_type_error(original: Path) -> None:
    """One line that names the argument, what it may be and what it is."""
    models = r"expected a path, an onnx\.ModelProto or an onnx_ir\.Model, found int\.$"
    with pytest.raises(TypeError, match=f"^onnx_a: {models}"):
        assert_equivalent(1, 2)  # pyright: ignore[reportArgumentType]  (that is the test)
    with pytest.raises(TypeError, match=f"^onnx_b: {models}"):
        assert_equivalent(original, 2)  # pyright: ignore[reportArgumentType]  (that is the test)


def test_without_onnxruntime_the_error_says_what_to_install(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a skip: a test that did not run must not look like one that passed."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"ONNX Runtime is not installed: pip install 'bnfold\[gpu\]'"):
        assert_equivalent(original, original)


def test_importing_costs_nothing() -> None:
    """Neither the package nor the plugin loads what a verification needs."""
    code = f"import sys, bnfold.testing.plugin as p; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
