"""Files in and out: checked before work starts, hashed in streams, written whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bnfold.errors import InputError


def require_file(path: Path) -> Path:
    """Return ``path`` if it is a readable file.

    Raises:
        InputError: it is missing, a directory, or not readable.
    """
    if not _exists(path):
        raise InputError(f"{path}: no such file.")
    if path.is_dir():
        raise InputError(f"{path}: expected a file, found a directory.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read.")
    return path


def require_directory(path: Path) -> Path:
    """Return ``path`` if it is a readable directory.

    Raises:
        InputError: it is missing, a file, or not readable.
    """
    if not _exists(path):
        raise InputError(f"{path}: no such directory.")
    if not path.is_dir():
        raise InputError(f"{path}: expected a directory, found a file.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise InputError(f"{path}: no permission to read.")
    return path


def require_output(path: Path, *, force: bool) -> Path:
    """Return ``path`` if it can be written; called before the work, so that nothing is computed in vain.

    Raises:
        InputError: it exists and ``force`` is off, it is a device or a link, its folder cannot be made, or cannot be
            written to.
    """
    if _exists(path) and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: is neither a file nor a directory, and is not replaced.")
    if path.is_symlink():
        raise InputError(f"{path}: is a link, and is not replaced; name the file that it leads to.")
    if _exists(path) and not force:
        raise InputError(f"{path}: already exists; pass --force to replace it or choose another name.")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"{path}: {parent} is a file, expected a directory.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: no permission to write in {parent}.")
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Generator[Path]:
    """Yield a temporary path beside ``path`` that replaces it on success and vanishes on any exception.

    The temporary name keeps the suffix, since writers such as ``numpy.savez`` and ``onnx.save`` look at it.
    """
    with _translated(path), _directory_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def atomic_directory(path: Path) -> Generator[Path]:
    """Yield a temporary directory that takes ``path``'s place on success and vanishes on any exception.

    An existing ``path`` is moved aside just before, and put back if the new one cannot take its place.
    """
    with _translated(path), _directory_beside(path) as folder:
        new, old = folder / "new", folder / "old"
        new.mkdir()
        yield new
        try:
            if path.exists():
                path.replace(old)
            new.replace(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.replace(path)
            raise


@contextmanager
def _directory_beside(path: Path) -> Generator[Path]:
    """Yield a hidden temporary directory in ``path``'s parent, on the same file system, removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(path: Path) -> bool:
    """Whether ``path`` exists; a name that no file can have is bad input rather than absent."""
    try:
        return path.exists()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from error


@contextmanager
def _translated(path: Path) -> Generator[None]:
    """Turn what the operating system refuses (permission, full disk, name too long) into one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: could not be written: {error.strerror or error}.") from error
