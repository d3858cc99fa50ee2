"""What a command writes never takes the place of what it reads, of a device or of a link."""

import stat
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.running import bnfold_process


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file with one foldable normalization."""
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        net (float[N, 2, 4, 4] x) => (float[N, 3, 4, 4] y) {
            c = Conv (x, w)
            y = BatchNormalization (c, g, g, g, g)
        }"""
    )
    weights = {"w": np.ones((3, 2, 1, 1)), "g": np.ones(3)}
    graph.graph.initializer.extend(
        onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()
    )
    onnx.save(graph, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("output", "report"), [("new.onnx", "new.onnx"), ("new.onnx", "model.onnx"), ("model.onnx", None)]
)
def test_a_source_is_never_an_output(model: Path, output: str, report: str | None) -> None:
    """Also with --force: the source stays what it was, and one file does not get two contents."""
    before = model.read_bytes()
    reports = [] if report is None else ["--report", model.with_name(report)]
    done = bnfold_process("fold", model, "-o", model.with_name(output), *reports, "--force")
    assert done.code == 2
    assert "is named twice" in done.err
    assert model.read_bytes() == before
    assert not model.with_name("new.onnx").exists()


def test_a_link_is_not_replaced(model: Path) -> None:
    """The file that it leads to stays what it was."""
    (target := model.with_name("target")).write_text("precious")
    (link := model.with_name("link.onnx")).symlink_to(target)
    done = bnfold_process("fold", model, "-o", link, "--force")
    assert (done.code, target.read_text(), link.is_symlink()) == (2, "precious", True)


def test_a_device_is_not_replaced(model: Path) -> None:
    """--force gives up files, nothing else."""
    done = bnfold_process("fold", model, "-o", "/dev/null", "--force")
    assert done.code == 2
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_standard_output_is_bad_luck_and_no_verdict(model: Path, options: list[str]) -> None:
    """One line and exit code 2, never the 1 that means not equivalent."""
    done = bnfold_process("inspect", model, *options, stdout=Path("/dev/full"))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "standard output could not be written" in done.err
