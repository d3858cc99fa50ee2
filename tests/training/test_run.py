import json
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch

from bnfold.data import Split, load_data
from bnfold.errors import InputError
from bnfold.training import Run, evaluate, resolve_model, train, write_run
from bnfold.training.hyperparameters import Hyperparameters
from tests.training.tiny import BATCH, TinyTraining

ONE_STEP = Hyperparameters(steps=1, batch_size=BATCH, device="cpu")  # pyright: ignore[reportArgumentType]  (taken by value)


@pytest.fixture
def finished(tiny: TinyTraining, tmp_path: Path) -> Path:
    """A short run of a model file."""
    tiny.train(tmp_path / "run", settings={"steps": 2})
    return tmp_path / "run"


@pytest.fixture
def builtin_run(builtins: Path, tmp_path: Path) -> Path:
    """A run of a built-in model."""
    train(resolve_model("sigmoid-mlp", {"hidden_units": 7}, builtins), "digits", ONE_STEP, tmp_path / "run")
    return tmp_path / "run"


def change(folder: Path, *keys: str, value: object) -> None:
    """Set an entry of a run's record."""
    record = json.loads((folder / "run.json").read_text())
    entry = record
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value
    (folder / "run.json").write_text(json.dumps(record))


def test_a_run_tells_what_it_was_made_of(finished: Path, tiny: TinyTraining) -> None:
    """The record holds model, data, settings, inputs, length, versions and the final figures."""
    run = Run.open(finished)
    assert run.finished
    assert (run.data_spec, run.input_names, run.hyperparameters.steps) == ("digits", ("images",), 2)
    assert run.record["model"] == tiny.source().to_dict()
    assert run.record["inputs"] == {"images": {"shape": [1, 8, 8], "dtype": "float32"}}
    assert run.record["data"]["samples"] == {"train": 1437, "test": 360}
    assert run.record["metrics"] == json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])
    assert run.record["versions"]["torch"] == torch.__version__


def test_a_run_gives_back_its_model(finished: Path, builtins: Path) -> None:
    """The opened model is in evaluation mode and as accurate as the run says; no random state moves."""
    run = Run.open(finished)
    before = torch.get_rng_state()
    model = run.load_model(builtins)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.modules())
    metrics = evaluate(model, load_data("digits", Split.TEST), 50)
    assert metrics.accuracy == run.record["metrics"]["test_accuracy"]
    # The same float32 outputs, summed in float64 in batches of another size.
    assert metrics.loss == pytest.approx(run.record["metrics"]["test_loss"], rel=1e-6)


def test_a_run_of_a_built_in_model_opens_by_its_name(builtin_run: Path, builtins: Path, tmp_path: Path) -> None:
    """A built-in model is found where bnfold keeps them now, with the recorded arguments."""
    moved = shutil.copytree(builtins, tmp_path / "installed")
    model = Run.open(builtin_run).load_model(moved)
    assert model.get_parameter("head.weight").shape == (10, 7)


def test_changed_code_is_not_run(finished: Path, tiny: TinyTraining, builtins: Path, tmp_path: Path) -> None:
    """A model file that changed since is not executed until the user names it again."""
    proof = tmp_path / "executed"
    tiny.file.write_text(f"import pathlib; pathlib.Path({str(proof)!r}).touch()\n" + tiny.file.read_text())
    with pytest.raises(InputError, match=r"tiny\.py: changed since the run was made; name it again with --model"):
        Run.open(finished).load_model(builtins)
    assert not proof.exists()
    Run.open(finished).load_model(builtins, model=f"{tiny.file}:build")
    assert proof.exists()


def test_a_moved_model_file_is_named_again(finished: Path, tiny: TinyTraining, builtins: Path, tmp_path: Path) -> None:
    """Where the file is gone the user says where it is now."""
    tiny.file.rename(tmp_path / "elsewhere.py")
    with pytest.raises(InputError, match=r"tiny\.py: the run names this file, but there is none"):
        Run.open(finished).load_model(builtins)
    Run.open(finished).load_model(builtins, model=f"{tmp_path / 'elsewhere.py'}:build")


@pytest.mark.parametrize(
    "forged",
    [
        {"kind": "module", "spec": "os:system", "factory": "system", "path": None, "sha256": None},
        {"kind": "module", "spec": "os:system", "factory": "system", "path": "{stdlib}/os.py", "sha256": "{hash}"},
        {"kind": "file", "spec": "x.py:getoutput", "factory": "getoutput", "path": "{stdlib}/subprocess.py"},
        {"kind": "built-in", "spec": "{stdlib}/subprocess.py:getoutput", "factory": "getoutput"},
        {"kind": "built-in", "spec": "../evil", "factory": "build"},
        {"kind": "file", "spec": "x.py:build", "factory": "build", "path": None},
        {"kind": "file", "spec": "x.py:build", "factory": "build", "path": "{folder}/run.json", "sha256": None},
    ],
)
def test_a_forged_record_runs_nothing(finished: Path, builtins: Path, tmp_path: Path, forged: dict[str, Any]) -> None:
    """Modules, files of Python's own with their true hash, and names that leave the folder are all refused."""
    stdlib = sysconfig.get_path("stdlib")
    proof = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"import pathlib; pathlib.Path({str(proof)!r}).touch()\n")
    model = {
        key: value.format(stdlib=stdlib, folder=finished, hash="0" * 64) if isinstance(value, str) else value
        for key, value in forged.items()
    }
    change(finished, "model", value={**model, "args": {"cmd": f"touch {proof}", "command": f"touch {proof}"}})
    inside = tmp_path / "inside"
    shutil.copytree(builtins, inside)
    with pytest.raises(InputError, match=r"name it again with --model|no such model|changed since|expected a built-in"):
        Run.open(finished).load_model(inside)
    assert not proof.exists()


def test_a_data_factory_is_asked_for_again_when_it_changed(tiny: TinyTraining, tmp_path: Path) -> None:
    """Code that the data names is held to the same rule as the model's, and is found from any working directory."""
    file = tmp_path / "own_data.py"
    file.write_text(
        "from bnfold.data import Split, load_data\ndef make(split): return load_data('digits', Split(split))\n"
    )
    train(tiny.source(), f"{file}:make", ONE_STEP, tmp_path / "run")
    assert Run.open(tmp_path / "run").data_spec == f"{file}:make"
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(InputError, match=r"own_data\.py: changed since the run was made; name it again with --data"):
        _ = Run.open(tmp_path / "run").data_spec


def test_an_unfinished_run_has_no_model_yet(finished: Path, builtins: Path) -> None:
    """Weights on the way are not final weights."""
    change(finished, "finished", value=False)
    with pytest.raises(InputError, match="the run is not finished; go on with --resume"):
        Run.open(finished).load_model(builtins)


def test_weights_of_another_model_are_one_line(finished: Path, builtins: Path) -> None:
    """A model that the weights do not fit is said with the file and the model."""
    with pytest.raises(InputError, match=r"model\.safetensors: does not fit residual: RuntimeError") as caught:
        Run.open(finished).load_model(builtins, model="residual")
    assert "unexpected" in str(caught.value) or "residual" in str(caught.value)
    (finished / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"model\.safetensors: not a readable safetensors file"):
        Run.open(finished).load_model(builtins)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[]", "schema None, expected 'bnfold.run/1'"),
        (b'{"schema": "bnfold.run/2"}', "schema 'bnfold.run/2', expected 'bnfold.run/1'"),
        (b'{"schema": "bnfold.run/1", "model": 3}', "'model' is missing or not an object"),
        (
            b'{"schema": "bnfold.run/1", "model": {}, "data": {}, "inputs": {}, "hyperparameters": {}}',
            "model.spec is missing or not text",
        ),
    ],
)
def test_a_damaged_record_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    """Every way in which a record can be broken is named with the file."""
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"run\.json: {words}"):
        Run.open(tmp_path)


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    """A missing folder, a file and a folder of other things are told apart."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"gone: no such directory"):
        Run.open(tmp_path / "gone")
    with pytest.raises(InputError, match=r"file: expected a directory, found a file"):
        Run.open(tmp_path / "file")
    with pytest.raises(InputError, match=r"not a run folder: it has no run\.json"):
        Run.open(tmp_path)


def test_a_run_is_written_with_other_weights(finished: Path, builtins: Path, tmp_path: Path) -> None:
    """A calibrated copy opens with its own weights, files and additions, and is finished."""
    run = Run.open(finished)
    state = run.load_model(builtins).state_dict()
    state["head.bias"] = state["head.bias"] + 1
    copy = write_run(tmp_path / "copy", {**run.record, "calibration": 7}, state, files={"metrics.jsonl": b"{}\n"})
    assert copy == Run.open(tmp_path / "copy")
    assert copy.record["calibration"] == 7
    assert (tmp_path / "copy" / "metrics.jsonl").read_bytes() == b"{}\n"
    assert torch.equal(copy.load_model(builtins).get_parameter("head.bias"), state["head.bias"])


def test_a_run_replaces_a_run_only_by_force_and_nothing_else_ever(finished: Path, tmp_path: Path) -> None:
    """An existing run asks for force, an empty folder is free, other folders and files are never replaced."""
    record = Run.open(finished).record
    with pytest.raises(InputError, match="already exists; pass --force"):
        write_run(finished, record, {})
    write_run(finished, {**record, "note": 1}, {}, force=True)
    assert Run.open(finished).record["note"] == 1
    (tmp_path / "other").mkdir()
    write_run(tmp_path / "other", record, {})
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").touch()
    with pytest.raises(InputError, match="precious: holds files, but no run; choose another name"):
        write_run(tmp_path / "precious", record, {}, force=True)
    with pytest.raises(InputError, match=r"thesis\.tex: expected a folder, found a file"):
        write_run(tmp_path / "precious" / "thesis.tex", record, {}, force=True)
    assert (tmp_path / "precious" / "thesis.tex").exists()
