"""Outputs: checked before the work starts, written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from bnfold.errors import InputError
from bnfold.files import atomic_file, require_output
from bnfold.json_text import json_text


def require_file_output(path: Path, *, force: bool, suffix: str = "") -> Path:
    """Return ``path`` if a file can be written there, whose name is to end in ``suffix``.

    Raises:
        InputError: it exists and ``force`` is off, is a folder, cannot be written to, or has another suffix.
    """
    if path.is_dir() and force:
        raise InputError(f"{path}: expected the name of a file, found a folder; choose another name.")
    require_output(path, force=force)
    if path.suffix.lower() != suffix and suffix:
        raise InputError(f"{path}: expected a name that ends in {suffix}.")
    return path


def require_distinct(*paths: Path | None) -> None:
    """Check that what is read and what is written are different files, also with ``--force``.

    Raises:
        InputError: two of the paths are one.
    """
    given = [path for path in paths if path is not None]
    for position, path in enumerate(given):
        if path.resolve() in {earlier.resolve() for earlier in given[:position]}:
            raise InputError(f"{path}: is named twice, to read or to write; choose another name.")


def require_folder_output(path: Path, *, marker: str, kind: str, force: bool) -> Path:
    """Return ``path`` if a folder can be written there: it is new, or a ``kind`` that ``force`` gives up.

    A ``kind`` is a folder that holds the file ``marker``, or nothing.

    Raises:
        InputError: it exists and ``force`` is off, holds anything else than a ``kind``, or cannot be written to.
    """
    if force and path.exists() and not ((path / marker).is_file() or _is_empty_folder(path)):
        raise InputError(f"{path}: is no {kind}; --force replaces nothing else. Choose another name.")
    return require_output(path, force=force)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def write_json(document: Mapping[str, object], path: Path) -> None:
    """Write ``document`` to ``path``.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(json_text(document), encoding="utf-8")
