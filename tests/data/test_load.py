import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bnfold.data
from bnfold.data import Split, load_data
from bnfold.data.load import absolute_spec, factory_file
from bnfold.errors import InputError

FACTORIES = """
import numpy as np
from bnfold.data import Dataset

def pair(split):
    n = {"train": 5, "test": 2}[split]
    return {"x": [[float(i), 0.0] for i in range(n)]}, list(range(n))

def dataset(split):
    return Dataset("own", {"x": np.ones((3, 2))})

def unlabelled(split):
    return {"x": np.ones((3, 2))}, None

def bare(split):
    return np.ones((3, 2))

def listed(split):
    return [np.ones((3, 2))], np.zeros(3)

def ragged(split):
    return {"x": [[1.0], [1.0, 2.0]]}, None

def nothing(split):
    return {"x": np.ones((0, 2))}, None

def text(split):
    return {"x": ["a", "b"]}, None

def raising(split):
    raise RuntimeError("disk on fire")

def no_split():
    return {"x": np.ones((3, 2))}, None
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A Python file of factories, good and bad."""
    path = tmp_path / "own_data.py"
    path.write_text(FACTORIES)
    return path


def test_a_factory_is_called_with_the_split(file: Path) -> None:
    """The factory gets "train" or "test", and array-likes become arrays."""
    train, test = (load_data(f"{file}:pair", split) for split in Split)
    assert (len(train), len(test)) == (5, 2)
    np.testing.assert_array_equal(train.inputs["x"][:, 0], np.arange(5))
    assert train.name == f"{file}:pair"


def test_a_factory_may_return_a_dataset_or_no_labels(file: Path) -> None:
    """A ready data set is passed on, and labels may be None."""
    assert load_data(f"{file}:dataset", Split.TRAIN).name == "own"
    assert load_data(f"{file}:unlabelled", Split.TEST).labels is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bare", "returned ndarray, expected a Dataset or a pair"),
        ("listed", r"returned \(list, ndarray\), expected a Dataset or a pair"),
        ("ragged", "x does not make an array"),
        ("nothing", "empty, expected at least one sample"),
        ("text", "x holds <U1 values, expected numbers"),
        ("raising", "raised RuntimeError: disk on fire"),
        ("no_split", "too many positional arguments; it takes no arguments"),
        ("pears", "no function 'pears', did you mean 'pair'"),
    ],
)
def test_bad_factories_are_one_line(file: Path, name: str, words: str) -> None:
    """What a factory gets wrong is said in one line that names it."""
    with pytest.raises(InputError, match=words) as caught:
        load_data(f"{file}:{name}", Split.TRAIN)
    assert "own_data.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "digit",
            r"^digit: unknown data, did you mean 'digits'\?; expected digits, mnist-subset, npz:FILE.*it\.$",
        ),
        ("", "unknown data"),
        ("data.npz", "unknown data; expected digits, mnist-subset, npz:FILE"),
        ("data.py", "unknown data"),
        ("data.py:", "unknown data"),
        ("gone.py:make", "gone.py: no such file"),
        ("standardized:gone.py:make", "gone.py: no such file"),
    ],
)
def test_an_unknown_spec_lists_the_choices(spec: str, words: str) -> None:
    """What is none of the known forms is answered with the known forms."""
    with pytest.raises(InputError, match=words):
        load_data(spec, Split.TRAIN)


def test_absolute_specs_mean_the_same_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File names become absolute, names of data sets stay; only Python files count as code."""
    monkeypatch.chdir(tmp_path)
    assert absolute_spec("digits") == "digits"
    assert absolute_spec("npz:a.npz") == f"npz:{tmp_path / 'a.npz'}"
    assert absolute_spec("sub/a.py:make") == f"{tmp_path / 'sub' / 'a.py'}:make"
    assert factory_file("sub/a.py:make") == Path("sub/a.py")
    assert factory_file("npz:a.py:make") is None
    assert factory_file("standardized:sub/a.py:make") == Path("sub/a.py")
    assert factory_file("hf:sub/a.py:make") is None
    assert absolute_spec("standardized:npz:a.npz") == f"standardized:npz:{tmp_path / 'a.npz'}"
    assert absolute_spec("hf:org/name") == "hf:org/name"
    (tmp_path / "pictures").mkdir()
    assert absolute_spec("hf:pictures") == f"hf:{tmp_path / 'pictures'}"
    assert factory_file("digits") is None


def test_nothing_of_the_package_imports_torch() -> None:
    """Data is there for commands on machines without torch: no module of the package pulls it in."""
    names = [
        f"bnfold.data.{file.stem}" for file in Path(bnfold.data.__path__[0]).glob("*.py") if file.stem != "__init__"
    ]
    assert len(names) > 5
    program = f"import sys, {', '.join(names)}\nsys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
