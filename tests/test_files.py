"""Tests of ``bnfold.files``: checks before work, and writes that happen whole or not at all, also as root."""

import hashlib
import os
from pathlib import Path

import pytest

from bnfold.errors import InputError
from bnfold.files import atomic_directory, atomic_file, require_directory, require_file, require_output, sha256

LONG_NAME = "n" * 300
"""Longer than any common file system allows: a refusal that root gets too."""


class Interrupted(BaseException):
    """Stands for Ctrl-C, which is no ``Exception``."""


def test_require_file_returns_a_readable_file(tmp_path: Path) -> None:
    """The path comes back, so that the check can be written where the path is used."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    assert require_file(path) == path


def test_require_file_refuses_what_is_no_file(tmp_path: Path) -> None:
    """A missing file and a directory, each in one line with the path."""
    with pytest.raises(InputError, match="missing: no such file"):
        require_file(tmp_path / "missing")
    with pytest.raises(InputError, match="expected a file, found a directory"):
        require_file(tmp_path)


def test_require_directory_refuses_what_is_none(tmp_path: Path) -> None:
    """A missing directory and a file; a directory comes back."""
    (tmp_path / "file").touch()
    assert require_directory(tmp_path) == tmp_path
    with pytest.raises(InputError, match="missing: no such directory"):
        require_directory(tmp_path / "missing")
    with pytest.raises(InputError, match="expected a directory, found a file"):
        require_directory(tmp_path / "file")


def test_require_output_refuses_an_existing_file_without_force(tmp_path: Path) -> None:
    """With ``force`` it may be replaced; a new path in folders that do not exist yet is fine."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(InputError, match="already exists; pass --force"):
        require_output(path, force=False)
    assert require_output(path, force=True) == path
    assert require_output(tmp_path / "a" / "b" / "new", force=False) == tmp_path / "a" / "b" / "new"


def test_require_output_refuses_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    """Nothing can be written below a regular file, whoever asks."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, expected a directory"):
        require_output(tmp_path / "file" / "new", force=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_require_output_refuses_a_folder_without_permission(tmp_path: Path) -> None:
    """A folder that is not writable is found before the work."""
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission to write"):
        require_output(tmp_path / "new", force=False)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    """As an input and as an output, with what the operating system says of it."""
    path = tmp_path / ("n" * 300)
    for check in (require_file, require_directory, lambda path: require_output(path, force=False)):
        with pytest.raises(InputError, match="too long"):
            check(path)


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    """Against hashlib in one go, on more than one buffer."""
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_atomic_file_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The new content is there, the temporary file is not, folders on the way are made."""
    path = tmp_path / "deep" / "file.bin"
    for content in (b"first", b"second"):
        with atomic_file(path) as temporary:
            assert temporary.suffix == ".bin"
            temporary.write_bytes(content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, Interrupted])
def test_atomic_file_keeps_the_old_content_on_any_exception(tmp_path: Path, error: type[BaseException]) -> None:
    """Half-written content never shows, also on Ctrl-C."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_file(path) as temporary:  # noqa: PT012  (the write before the exception is the point)
        temporary.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, Interrupted])
def test_atomic_directory_keeps_the_old_content_on_any_exception(tmp_path: Path, error: type[BaseException]) -> None:
    """The old directory stays whole, and the new one leaves nothing."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    with pytest.raises(error), atomic_directory(folder) as new:  # noqa: PT012  (the write before the exception is the point)
        (new / "half").write_bytes(b"half")
        raise error
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


def test_atomic_directory_replaces_as_a_whole(tmp_path: Path) -> None:
    """Nothing of the old directory remains in the new one, nor beside it."""
    folder = tmp_path / "deep" / "folder"
    for name in ("first", "second"):
        with atomic_directory(folder) as new:
            (new / name).write_text(name)
        assert [path.name for path in folder.iterdir()] == [name]
    assert list(folder.parent.iterdir()) == [folder]


def test_what_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    """A folder that is a file, and a name that is too long: InputError with the path, nothing written."""
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path / "file" / "new", "File exists"), (tmp_path / LONG_NAME, "File name too long")):
        for manager in (atomic_file, atomic_directory):
            with pytest.raises(InputError, match=f"could not be written: .*({reason}|Not a directory)"), manager(path):
                pytest.fail("nothing to write to")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
