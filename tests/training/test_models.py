import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bnfold.errors import InputError, MissingDependencyError
from bnfold.training.models import Kind, builtin_names, resolve_model

NETWORKS = """
from torch import nn

def build(width: int = 3, *, depth=1):
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])

class Net(nn.Linear):
    def __init__(self, inputs, outputs=2):
        super().__init__(inputs, outputs)

def raising():
    raise RuntimeError("no luck\\ntoday")

def number():
    return 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model file of the user's."""
    path = tmp_path / "networks.py"
    path.write_text(NETWORKS)
    return path


def test_built_in_names_are_the_files(builtins: Path, tmp_path: Path) -> None:
    """Names come from the files, underscores as dashes, private files left out."""
    assert {"digits-cnn", "residual", "sigmoid-mlp"} <= set(builtin_names(builtins))
    for name in ("b_c.py", "a.py", "_private.py", "notes.md"):
        (tmp_path / name).touch()
    assert builtin_names(tmp_path) == ["a", "b-c"]


def test_a_missing_folder_of_built_ins_is_said(tmp_path: Path) -> None:
    """A broken installation does not look like an unknown model."""
    with pytest.raises(InputError, match="no such directory"):
        resolve_model("digits-cnn", {}, tmp_path / "gone")


def test_a_built_in_model_is_built_by_name(builtins: Path) -> None:
    """A name leads to its file, its hash, its recipe and a network made with the arguments."""
    source = resolve_model("digits-cnn", {"classes": 7}, builtins)
    assert (source.kind, source.path) == (Kind.BUILTIN, builtins / "digits_cnn.py")
    assert source.sha256 == hashlib.sha256((builtins / "digits_cnn.py").read_bytes()).hexdigest()
    assert source.recipe.data == "digits"
    assert source.build()(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


@pytest.mark.parametrize(("factory", "args"), [("build", {"width": 5, "depth": 2}), ("Net", {"inputs": 4})])
def test_a_file_is_built_by_function_or_class(file: Path, builtins: Path, factory: str, args: dict[str, int]) -> None:
    """Any callable of a file that returns a network will do."""
    source = resolve_model(f"{file}:{factory}", args, builtins)
    assert (source.kind, source.path, source.factory) == (Kind.FILE, file, factory)
    assert isinstance(source.build(), nn.Module)
    assert source.recipe.data is None


def test_a_file_runs_when_the_model_is_built_and_not_before(tmp_path: Path, builtins: Path) -> None:
    """Resolving reads and hashes; what is run is what was hashed, even if the file changed in between."""
    file = tmp_path / "late.py"
    file.write_text("from torch import nn\ndef build(): return nn.Linear(3, 2)\n")
    source = resolve_model(f"{file}:build", {}, builtins)
    file.write_text("raise SystemExit('changed')\n")
    assert isinstance(source.build(), nn.Linear)
    assert resolve_model(f"{file}:build", {}, builtins).sha256 != source.sha256


def test_a_module_is_built_by_its_name(tmp_path: Path, builtins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the working directory is found, with path and hash of its source."""
    (tmp_path / "package_of_models").mkdir()
    (tmp_path / "package_of_models" / "small.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = resolve_model("package_of_models.small:build", {}, builtins)
    assert (source.kind, source.sha256) == (Kind.MODULE, hashlib.sha256(NETWORKS.encode()).hexdigest())
    assert isinstance(source.build(), nn.Sequential)


def test_a_module_without_a_source_file_has_no_hash(builtins: Path) -> None:
    """Modules written in C have nothing to hash and no recipe."""
    source = resolve_model("math:sqrt", {}, builtins)
    assert (source.path, source.sha256, source.recipe.data) == (None, None, None)


def test_arguments_are_as_json_gives_them_back(file: Path, builtins: Path) -> None:
    """A tuple becomes the list that a run's record will hold, so that a rebuilt model gets the same."""
    source = resolve_model(f"{file}:build", {"width": (1, 2)}, builtins)
    assert source.args == {"width": [1, 2]}
    assert json.loads(json.dumps(source.to_dict())) == source.to_dict()
    assert source.to_dict()["path"] == str(file)


@pytest.mark.parametrize("value", [torch.float32, float("nan"), {1, 2}])
def test_arguments_that_json_cannot_carry_are_refused(file: Path, builtins: Path, value: object) -> None:
    """What cannot be recorded cannot be rebuilt."""
    with pytest.raises(InputError, match="a model argument that JSON cannot carry"):
        resolve_model(f"{file}:build", {"width": value}, builtins)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "digits-cn",
            r"^digits-cn: no such model, did you mean 'digits-cnn'\?; built in: .*residual.*; or FILE\.py",
        ),
        ("digits_cnn", r"did you mean 'digits-cnn'"),
        ("", "no such model; built in: "),
        ("../digits-cnn", "no such model"),
        ("net.py", r"^net\.py: which function\? Write net\.py:build if it is named build"),
        ("gone.py:build", r"gone\.py: no such file"),
        ("gone.py:", "expected a built-in name, FILE.py:FACTORY or PACKAGE.MODULE:FACTORY"),
        (":build", "expected a built-in name"),
        ("no such:build", "expected a built-in name"),
        ("no.such.module:build", r"^no\.such\.module: could not be imported: ModuleNotFoundError"),
        ("torch.nn:Lineer", "no function 'Lineer'"),
    ],
)
def test_an_unknown_model_is_one_line(spec: str, words: str, builtins: Path) -> None:
    """Whatever is not found is said with what there is."""
    with pytest.raises(InputError, match=words) as caught:
        resolve_model(spec, {}, builtins).build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "args", "words"),
    [
        (
            "biuld",
            {},
            r"networks\.py: no function 'biuld', did you mean 'build'\?; it defines build, Net, raising, number",
        ),
        ("raising", {}, r"networks\.py:raising: raised RuntimeError: no luck today\.$"),
        ("number", {}, r"networks\.py:number: returned int, expected a torch\.nn\.Module\.$"),
        ("build", {"widht": 3}, r"unexpected keyword argument 'widht', did you mean 'width'\?; it takes width, depth"),
        ("Net", {}, "missing a required argument: 'inputs'; it takes inputs, outputs"),
        ("Net", {"inputs": "four"}, "networks.py:Net: raised TypeError"),
    ],
)
def test_a_bad_factory_is_one_line(
    file: Path, builtins: Path, factory: str, args: dict[str, object], words: str
) -> None:
    """What goes wrong while a model is built is said with the file, the factory and what it takes."""
    with pytest.raises(InputError, match=words) as caught:
        resolve_model(f"{file}:{factory}", args, builtins).build()
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, builtins: Path) -> None:
    """A directory that is named like a file is no model."""
    (tmp_path / "net.py").mkdir()
    with pytest.raises(InputError, match=r"net\.py: expected a file, found a directory"):
        resolve_model(f"{tmp_path / 'net.py'}:build", {}, builtins)


def test_without_torch_the_message_says_what_to_install(builtins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building needs torch, and where it is missing the user is told the extra to install."""
    source = resolve_model("digits-cnn", {}, builtins)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'bnfold\[train\]'"):
        source.build()
