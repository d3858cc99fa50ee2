import sys
from pathlib import Path

import pytest

from bnfold.data import factories
from bnfold.data.factories import call_factory, find_factory, import_module, load_file, one_line, read_source
from bnfold.errors import InputError


def load(path: Path, text: str) -> object:
    """Write a Python file and load it as the project does."""
    path.write_text(text)
    return load_file(path, read_source(path))


def test_a_file_becomes_a_registered_module_that_hides_nothing(tmp_path: Path) -> None:
    """A file named like a library module runs under another name, which dataclasses and pickles find."""
    module = load_file(path := tmp_path / "json.py", b"import json\nclass Own: ...\nfound = json.dumps([1])\n")
    assert sys.modules["json"] is not module
    assert sys.modules[module.__name__] is module
    assert (module.Own.__module__, module.found, module.__file__) == (module.__name__, "[1]", str(path))


def test_the_same_content_runs_once_and_new_content_anew(tmp_path: Path) -> None:
    """Two builds share their classes; an edit within the same second is seen, since no byte code is cached."""
    first = load(tmp_path / "a.py", "VALUE = [1]\n")
    assert load(tmp_path / "a.py", "VALUE = [1]\n") is first
    second = load(tmp_path / "a.py", "VALUE = [2]\n")
    assert getattr(second, "VALUE") == [2]  # noqa: B009  (a module's own attribute, unknown to the type checker)
    assert [file.name for file in tmp_path.iterdir()] == ["a.py"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def build(:\n", r"could not be loaded: SyntaxError"),
        ("import no_such_module_anywhere\n", r"could not be loaded: ModuleNotFoundError: No module named"),
        ("raise ValueError('first\\nsecond')\n", r"could not be loaded: ValueError: first second\.$"),
        ("raise SystemExit(3)\n", r"could not be loaded: SystemExit: 3\.$"),
        ("\x00", r"could not be loaded: (SyntaxError|ValueError)"),
    ],
)
def test_a_file_that_does_not_load_is_one_line_and_leaves_no_module(tmp_path: Path, text: str, words: str) -> None:
    """Whatever a file raises while it runs is one line with its path, and the half-made module is gone."""
    before = set(sys.modules)
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path / "broken.py", text)
    assert str(caught.value).startswith(str(tmp_path / "broken.py"))
    assert not [name for name in set(sys.modules) - before if "broken" in name]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """No file, no source."""
    with pytest.raises(InputError, match=r"gone\.py: no such file"):
        read_source(tmp_path / "gone.py")


def test_a_module_of_the_working_directory_is_found_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package beside the user is importable, but a file named like a library module does not replace it."""
    (tmp_path / "own_package_of_test").mkdir()
    (tmp_path / "own_package_of_test" / "net.py").write_text("import wave\nNAME = wave.__file__\n")
    (tmp_path / "wave.py").write_text("raise RuntimeError('imported by accident')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = import_module("own_package_of_test.net")
    assert str(tmp_path) not in getattr(module, "NAME")  # noqa: B009  (as above)


def test_modules_that_cannot_be_imported_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing module and one that raises are told apart by their own words."""
    (tmp_path / "raises_on_import.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(InputError, match=r"^no_such\.module: could not be imported: ModuleNotFoundError"):
        import_module("no_such.module")
    with pytest.raises(InputError, match=r"^raises_on_import: could not be imported: ZeroDivisionError"):
        import_module("raises_on_import")


def test_a_missing_factory_names_what_there_is(tmp_path: Path) -> None:
    """The nearest name is offered; imported and private functions are not listed."""
    path = tmp_path / "net.py"
    module = load_file(path, b"from json import dumps\ndef build(): ...\ndef _private(): ...\nNUMBER = 1\n")
    with pytest.raises(InputError, match=r"^net\.py: no function 'biuld', did you mean 'build'\?; it defines build\.$"):
        find_factory(module, "biuld", where="net.py")
    with pytest.raises(InputError, match="no function 'NUMBER'; it defines build"):
        find_factory(module, "NUMBER", where="net.py")


def test_arguments_that_do_not_fit_name_those_that_do() -> None:
    """Unknown, missing and superfluous arguments are refused before the factory runs, with its names."""

    def factory(width: int, *, depth: int = 2) -> int:
        return width * depth

    assert call_factory(factory, (), {"width": 3, "depth": 5}, where="f") == 15
    with pytest.raises(InputError, match=r"unexpected keyword argument 'widht', did you mean 'width'\?"):
        call_factory(factory, (), {"width": 3, "widht": 3}, where="f")
    with pytest.raises(InputError, match=r"^f: missing a required argument: 'width'; it takes width, depth\.$"):
        call_factory(factory, (), {}, where="f")
    with pytest.raises(InputError, match="too many positional arguments"):
        call_factory(factory, (1, 2), {}, where="f")


def test_what_a_factory_raises_is_one_line() -> None:
    """An exception becomes one line, an error of bnfold comes through, and an interrupt is no error."""

    def failing(kind: type[BaseException]) -> None:
        raise kind("first\n  second")

    with pytest.raises(InputError, match=r"^f: raised KeyError: 'first\\n second'\.$|^f: raised KeyError"):
        call_factory(failing, (KeyError,), {}, where="f")
    with pytest.raises(InputError, match=r"^first\n  second$"):
        call_factory(failing, (InputError,), {}, where="f")
    with pytest.raises(KeyboardInterrupt, match="first"):
        call_factory(failing, (KeyboardInterrupt,), {}, where="f")


def test_callables_without_a_signature_are_called() -> None:
    """Some callables written in C cannot be inspected, and are simply tried."""
    assert call_factory(dict, (), {"a": 1}, where="f") == {"a": 1}


def test_one_line_is_short_and_never_empty() -> None:
    """A message of many lines is joined, a long one cut, an empty one is the type."""
    assert one_line(ValueError("a\n\n b.")) == "ValueError: a b"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert len(one_line(ValueError("x" * 1000))) == 300


def test_a_near_name_is_offered_and_a_far_one_not() -> None:
    """The hint appears only where there is something near."""
    assert factories.did_you_mean("digit", ["digits"]) == ", did you mean 'digits'?"
    assert factories.did_you_mean("imagenet", ["digits"]) == ""
