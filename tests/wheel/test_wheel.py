"""The built wheel, installed into environments that hold nothing else of this checkout, and tried there."""

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import onnx
import pytest

from tests.verify.graphs import network, random_layers, right, saved

ROOT = Path(__file__).parents[2]
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"

pytestmark = pytest.mark.wheel


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return its standard output; its standard error appears when it fails."""
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=600
    )
    assert result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def torchless(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment with the wheel and its base dependencies alone: no torch, no ONNX Runtime."""
    folder = tmp_path_factory.mktemp("torchless")
    venv.create(folder, with_pip=True)
    constraints = ROOT / "constraints.txt"
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="session")
def complete(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment with the wheel, and this one's dependencies seen through a path file."""
    folder = tmp_path_factory.mktemp("complete")
    venv.create(folder, with_pip=True)
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(str(Path(pytest.__file__).parents[1]) + "\n")
    return folder / "bin"


def test_the_wheel_installs_only_its_two_packages(wheel: Path) -> None:
    """No top-level `cli`, `sample_models` or `tests` lands in a user's environment; the sample models travel inside."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"bnfold", "bnfold_cli"}
    assert "bnfold_cli/sample_models/digits_cnn.py" in names
    assert "bnfold/py.typed" in names


def test_fold_works_without_torch(torchless: Path, tmp_path: Path) -> None:
    """An ONNX file folds where neither torch nor ONNX Runtime is installed, and the report agrees with the file."""
    missing = "import importlib.util as u; print([n for n in ('torch', 'onnxruntime') if u.find_spec(n)])"
    assert run(torchless / "python", "-c", missing, cwd=tmp_path).strip() == "[]"
    shutil.copy(LIGHT / "light_shufflenet.onnx", tmp_path / "a.onnx")
    report = json.loads(run(torchless / "bnfold", "fold", "a.onnx", "-o", "b.onnx", "--json", cwd=tmp_path))
    assert report["batch_norm_count"] == {"before": 49, "after": 0}
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load(tmp_path / "b.onnx").graph.node)


def test_commands_that_need_torch_say_so(torchless: Path, tmp_path: Path) -> None:
    """Training without torch ends with exit code 2 and the command that installs it, not with a traceback."""
    result = subprocess.run(
        [str(torchless / "bnfold"), "train", "digits-cnn", "-o", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "bnfold[train]" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_the_demo_runs_from_the_wheel(complete: Path, tmp_path: Path) -> None:
    """The whole chain runs from the installed package, built-in model and all, in a folder without the repository."""
    where = run(complete / "python", "-c", "import bnfold; print(bnfold.__file__)", cwd=tmp_path)
    assert str(complete.parent) in where
    result = json.loads(run(complete / "bnfold", "demo", "-o", "demo", "--json", cwd=tmp_path))
    assert result["verdict"] == "equivalent"


def test_the_pytest_plugin_comes_with_the_wheel(complete: Path, tmp_path: Path) -> None:
    """By its entry point alone, in a project that takes warnings for errors; its schemas and templates travel along."""
    saved(network(random_layers()), tmp_path / "a.onnx")
    saved(network(random_layers(), right), tmp_path / "b.onnx")
    test = "def test_it(assert_equivalent):\n    assert_equivalent('a.onnx', 'b.onnx', samples=5)\n"
    (tmp_path / "test_it.py").write_text(test)
    told = run(complete / "python", "-m", "pytest", "-W", "error", "--bnfold-reports", "reports", cwd=tmp_path)
    assert "1 passed" in told
    assert "plugins: bnfold-" in told
    assert len(list((tmp_path / "reports").glob("*.html"))) == 1
