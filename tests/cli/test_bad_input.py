import re
from pathlib import Path

import numpy as np
import pytest

from tests.cli.models import write_inputs, write_model
from tests.cli.running import Run, snapshot


@pytest.fixture(autouse=True)
def place() -> None:
    """Good files and every kind of bad one, for the command lines below to name."""
    write_model(Path("good.onnx"))
    write_model(Path("nan.onnx"), nan=True)
    content = Path("good.onnx").read_bytes()
    Path("truncated.onnx").write_bytes(content[: len(content) // 2])
    Path("text.onnx").write_text("This is not a model.\n")
    Path("empty.onnx").touch()
    Path("folder").mkdir()
    Path("folder/file").write_text("precious\n")
    Path("there.onnx").write_text("precious\n")
    Path("net.py").write_text("def build():\n    return 7\n\n\ndef broken():\n    raise ValueError('planted')\n")
    write_inputs(Path("wide.npz"), image=(3, 6, 7))
    write_inputs(Path("none.npz"), samples=0)
    np.savez(Path("labels.npz"), images=np.zeros((8, 1, 9, 9), np.float32), y=np.zeros(8, np.int64))
    Path("other.json").write_text('{"schema": "bnfold.verification/2"}\n')
    np.savez(Path("objects.npz"), x=np.array([{"a": 1}], dtype=object))


TRAIN = "train digits-cnn -o run --epochs 1"

LINES = {
    # missing file
    "fold missing.onnx -o out.onnx": r"missing\.onnx: no such file",
    "inspect missing.onnx": r"missing\.onnx: no such file",
    "export missing.onnx -o bundle": r"missing\.onnx: no such file",
    "verify good.onnx missing.onnx": r"missing\.onnx: no such file",
    "verify missing": r"missing: no such",
    "calibrate missing -o out": r"missing: no such directory",
    "train missing.py:build -o run": r"missing\.py: no such file",
    "train digits-cnn --data npz:missing.npz -o run": r"missing\.npz: no such file",
    "verify good.onnx good.onnx --data npz:missing.npz": r"missing\.npz: no such file",
    "train digits-cnn -o run --config missing.toml": r"missing\.toml: no such file",
    # a folder instead of a file, a file instead of a folder
    "fold folder -o out.onnx": r"folder: .*run",
    "inspect folder": r"folder: .*run",
    "export folder -o bundle": r"folder: .*run",
    "verify folder": r"folder: .*bundle",
    "verify good.onnx folder": r"folder: expected a file",
    "calibrate good.onnx -o out": r"good\.onnx: an ONNX file brings no data; .* --data",
    "calibrate folder -o out": r"folder: .*run",
    "train folder:build -o run": r"folder",
    # truncated, or not ONNX at all
    "fold truncated.onnx -o out.onnx": r"truncated\.onnx: ",
    "fold text.onnx -o out.onnx": r"text\.onnx: ",
    "fold empty.onnx -o out.onnx": r"empty\.onnx: ",
    "inspect truncated.onnx": r"truncated\.onnx: ",
    "export text.onnx -o bundle": r"text\.onnx: ",
    "verify good.onnx truncated.onnx": r"truncated\.onnx: ",
    "verify text.onnx good.onnx": r"text\.onnx: ",
    "train digits-cnn --data npz:text.onnx -o run": r"text\.onnx: ",
    # wrong shapes
    "verify good.onnx good.onnx --data npz:wide.npz": r"x",
    "export good.onnx -o bundle --data npz:wide.npz": r"x",
    "train digits-cnn --data npz:labels.npz -o run": r"labels\.npz",
    # unknown option, unknown value
    "fold good.onnx -o out.onnx --bogus": r"--bogus",
    "verify good.onnx good.onnx --provider tpu": r"'tpu' is not one of 'cpu', 'cuda', 'tensorrt'",
    "calibrate run -o out --estimator mean": r"'mean' is not one of 'self-consistent'",
    f"{TRAIN} --schedule linear": r"'linear' is not one of 'constant'",
    f"{TRAIN} --optimizer lion": r"'lion' is not one of",
    f"{TRAIN} --device tpu": r"'tpu' is not one of",
    f"{TRAIN} --learning-rate -1": r"learning-rate: expected a number above 0, found -1",
    f"{TRAIN} --batch-size 0": r"--batch-size.*greater than or equal to 1",
    f"{TRAIN} --steps 3": r"give one of them",
    f"{TRAIN} --model-arg width": r"--model-arg width: expected KEY=JSON",
    f"{TRAIN} --model-arg width=wide": r"'wide' is not JSON",
    f"{TRAIN} --model-arg depth=3": r"digits-cnn: .*depth",
    f"{TRAIN} --data mnist": r"mnist: unknown data",
    "export good.onnx -o bundle --opset 3": r"opset",
    "export good.onnx -o bundle --samples 0": r"--samples",
    # unknown model
    "train digits-cmn -o run": r"digits-cmn: no such model, did you mean 'digits-cnn'\?",
    "train net.py:bild --data digits -o run": r"net\.py: no function 'bild', did you mean 'build'\?",
    "train net.py:build --data digits -o run": r"net\.py:build: returned int, expected a torch\.nn\.Module",
    "train net.py:broken --data digits -o run": r"net\.py:broken: raised ValueError: planted",
    "train net.py:build -o run": r"say what to train on with --data",
    # NaN in weights
    "fold nan.onnx -o out.onnx": r"nan\.onnx: weight conv\.weight holds NaN",
    "inspect nan.onnx": r"nan\.onnx: weight conv\.weight holds NaN",
    "export nan.onnx -o bundle": r"nan\.onnx: weight conv\.weight holds NaN",
    "verify nan.onnx good.onnx": r"nan\.onnx: weight conv\.weight holds NaN",
    # an empty data set, data that is no numbers
    "verify good.onnx good.onnx --data npz:none.npz": r"none\.npz: empty",
    "train digits-cnn --data npz:none.npz -o run": r"none\.npz: empty",
    "export good.onnx -o bundle --data npz:none.npz": r"none\.npz: empty",
    "verify good.onnx good.onnx --data npz:objects.npz": r"objects\.npz: not a readable archive",
    # nowhere to write
    "fold good.onnx -o there.onnx/out.onnx": r"there\.onnx is a file, expected a directory",
    "export good.onnx -o there.onnx/bundle": r"there\.onnx is a file, expected a directory",
    "fold good.onnx -o out.onnx --report there.onnx/r.json": r"there\.onnx is a file, expected a directory",
    "verify good.onnx good.onnx --report there.onnx/r.json": r"there\.onnx is a file, expected a directory",
    "train digits-cnn -o there.onnx/run --epochs 1": r"there\.onnx is a file, expected a directory",
    "demo -o there.onnx/demo": r"there\.onnx is a file, expected a directory",
    "fold good.onnx -o /proc/nowhere/out.onnx": r"out\.onnx: ",
    # something is there already
    "fold good.onnx -o there.onnx": r"there\.onnx: already exists; pass --force",
    "fold good.onnx -o out.onnx --report there.onnx": r"there\.onnx: already exists; pass --force",
    "export good.onnx -o folder": r"folder: already exists; pass --force",
    "verify good.onnx good.onnx --report other.json": r"other\.json: already exists; pass --force",
    "train digits-cnn -o folder --epochs 1": r"folder: holds files, but no run",
    "demo -o folder": r"folder: already exists; pass --force",
    # --force replaces what bnfold wrote, and nothing else
    "fold good.onnx -o folder --force": r"folder: .*file",
    "export good.onnx -o folder --force": r"folder: .*no bundle",
    "export good.onnx -o there.onnx --force": r"there\.onnx: is no bundle",
    "train digits-cnn -o folder --force --epochs 1": r"folder: holds files, but no run",
    "demo -o folder --force": r"folder: ",
    # reports
    "verify": r"name a bundle, or two ONNX files, or a report with --rethreshold",
    "verify good.onnx good.onnx --report v.txt": r"v\.txt: the name of a report ends in one of \.json, \.xml",
    "verify good.onnx good.onnx --report v.md --report v.md": r"v\.md: is named twice",
    "verify good.onnx good.onnx --fold-report text.onnx --report v.json": r"text\.onnx: not a JSON report",
    "verify good.onnx good.onnx --fold-report other.json": r"--fold-report: it is told of in reports; name one",
    "verify good.onnx good.onnx --k 4": r"--k, --floor-scale: they judge a report again",
    "verify --rethreshold missing.json": r"missing\.json: no such file",
    "verify --rethreshold text.onnx": r"text\.onnx: not a JSON report",
    "verify --rethreshold other.json": r"other\.json: .*bnfold\.verification/2'; read it with the version",
    "verify good.onnx --rethreshold other.json": r"runs nothing: leave out the models",
    "verify --rethreshold other.json --samples 3 --seed 1": r"runs nothing: leave out --samples, --seed",
    "diff other.json other.json": r"other\.json: .*found schema 'bnfold\.verification/2'",
    "diff missing.json other.json": r"missing\.json: no such file",
    "diff other.json other.json --report d.xml": r"d\.xml: a comparison is written as \.json or \.md",
}


@pytest.mark.parametrize("line", LINES)
def test_bad_input_ends_with_one_line_and_writes_nothing(bnfold: Run, line: str) -> None:
    """Exit code 2, one line on stderr that names what is wrong, an empty stdout, and not a byte changed on disk."""
    before = snapshot()
    outcome = bnfold(*line.split())
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    assert outcome.err.startswith("error: ")
    assert snapshot() == before
    assert re.search(LINES[line], outcome.err), outcome.err
