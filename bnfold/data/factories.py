"""Factories that users name, ``FILE.py:NAME`` or ``PACKAGE.MODULE:NAME``: every failure in one line.

Models (`bnfold.training.models`) come in by the same door.
"""

import difflib
import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

from bnfold.errors import BnfoldError, InputError
from bnfold.files import require_file

Factory = Callable[..., object]
Arguments = tuple[object, ...]


def read_source(path: Path) -> bytes:
    """Return the text of a Python file as bytes, so that what is hashed is what is run.

    Raises:
        InputError: no such file, or it cannot be read.
    """
    return require_file(path).read_bytes()


def sha256(source: bytes) -> str:
    """Return the SHA-256 of a source's bytes in hexadecimal."""
    return hashlib.sha256(source).hexdigest()


def load_file(path: Path, source: bytes) -> ModuleType:
    """Run ``source``, the content of ``path``, as a module with a name of its own; the same content runs only once.

    The module is registered (dataclasses and pickles look for it), but can neither be imported by accident nor hide
    another module; no byte code is written or trusted. The file's folder is not put on the import path: what it imports
    has to be installed, or named as ``package.module:factory``.

    Raises:
        InputError: the file raises while it runs.
    """
    key = sha256(str(path.resolve()).encode() + b"\0" + source)
    name = f"_bnfold_{path.stem}_{key[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _BytesLoader(path, source)
    module = ModuleType(name)
    module.__spec__ = importlib.util.spec_from_loader(name, loader, origin=str(path))
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{path}: could not be loaded: {one_line(error)}.") from error
    return module


class _BytesLoader(importlib.abc.SourceLoader):
    """Compiles bytes at hand rather than the file, which may have changed since it was hashed."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002  (the protocol's argument)
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:  # noqa: ARG002  (the protocol's argument)
        return self._source


def import_module(name: str) -> ModuleType:
    """Import a module of an installed package or of the working directory, which comes last and so hides nothing.

    Raises:
        InputError: no such module, or it raises while it is imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}: could not be imported: {one_line(error)}.") from error


def find_factory(module: ModuleType, name: str, *, where: str) -> Factory:
    """Return the callable ``name`` of ``module``.

    Raises:
        InputError: there is none; names the callables that the module defines.
    """
    found = getattr(module, name, None)
    if callable(found):
        return found
    own = [key for key, value in vars(module).items() if _is_own_callable(value, module) and not key.startswith("_")]
    raise InputError(f"{where}: no function {name!r}{did_you_mean(name, own)}; it defines {', '.join(own) or 'none'}.")


def _is_own_callable(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def call_factory(factory: Factory, arguments: Arguments, options: Mapping[str, object], *, where: str) -> object:
    """Return ``factory(*arguments, **options)``.

    Raises:
        InputError: its signature does not take them, or it raises; a `BnfoldError` comes through as it is.
    """
    _check_signature(factory, arguments, options, where)
    try:
        return factory(*arguments, **options)
    except BnfoldError:
        raise
    except Exception as error:
        raise InputError(f"{where}: raised {one_line(error)}.") from error


def _check_signature(factory: Factory, arguments: Arguments, options: Mapping[str, object], where: str) -> None:
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables written in C have none
        return
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        names = list(signature.parameters)
        unknown = next((name for name in options if name not in names), "")
        hint = did_you_mean(unknown, names)
        raise InputError(f"{where}: {error}{hint}; it takes {', '.join(names) or 'no arguments'}.") from error


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the nearest of ``names``, or nothing."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def one_line(error: BaseException) -> str:
    """Return type and message of an exception on one line, at most 300 characters of it."""
    words = " ".join(str(error).split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return (text if len(text) <= 300 else text[:299] + "…").rstrip(".")
