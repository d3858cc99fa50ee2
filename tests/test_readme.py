"""README promises nothing that does not run: its files are written, its commands run, in its order."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from bnfold.folding.rules import RULES
from tests.documents import blocks, commands, make_targets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_make_targets_exist() -> None:
    """Each `make` command of README is a target of the Makefile; CI runs the one that tests, `make test`."""
    targets = make_targets((ROOT / "Makefile").read_text())
    named = {command.split()[1] for command in commands(README) if command.startswith("make ")}
    assert named == {"demo", "test"}
    assert named <= targets
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_changelog_counts_the_operators() -> None:
    """The number that CHANGELOG names is that of the table."""
    assert f"folded through {len(RULES)} operators" in " ".join((ROOT / "CHANGELOG.md").read_text().split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: README's files and an ONNX file."""
    folder = tmp_path_factory.mktemp("readme")
    for block in blocks(README, "python"):
        (folder / block.splitlines()[0].removeprefix("# ")).write_text(block)
    write_model(folder / "model.onnx")
    return folder


def test_every_command_runs(folder: Path) -> None:
    """Every other command of README ends with exit code 0, one after another in one folder."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands(README):
        if not command.startswith("make "):
            result = subprocess.run(
                shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, f"$ {command}\n{result.stdout}\n{result.stderr}"


def write_model(path: Path) -> None:
    """Write a small network with BN and a dynamic batch."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20]>
        net (float[N, 3, 9, 9] images) => (float[N, 5] scores) {
            c = Conv<pads = [1, 1, 1, 1]> (images, w)
            n = BatchNormalization<epsilon = 0.01> (c, gamma, beta, mean, variance)
            r = Relu (n)
            p = GlobalAveragePool (r)
            f = Flatten (p)
            scores = Gemm (f, v)
        }"""
    )
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 3, 3, 3)), "v": rng.normal(size=(8, 5))}
    weights |= {name: rng.uniform(0.5, 2.0, 8) for name in ("gamma", "beta", "mean", "variance")}
    for name, values in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(model, path)
