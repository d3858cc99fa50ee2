"""From what the user writes as MODEL to a network: found, hashed, built, each failure in one line.

Importing this module does not import torch: the command line lists the built-in names with it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from bnfold.data.factories import (
    call_factory,
    did_you_mean,
    find_factory,
    import_module,
    load_file,
    read_source,
    sha256,
)
from bnfold.errors import InputError, MissingDependencyError
from bnfold.files import require_directory
from bnfold.training.recipes import Recipe, read_recipe

if TYPE_CHECKING:
    from torch import nn

BUILTIN_FACTORY = "build"
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


class Kind(StrEnum):
    """Where a model comes from: bnfold itself, a file of the user's, or a module on the import path."""

    BUILTIN = "built-in"
    FILE = "file"
    MODULE = "module"


@dataclass(frozen=True)
class ModelSource:
    """A network that can be built any number of times.

    Attributes:
        spec: what the user wrote.
        args: keyword arguments of the factory, as JSON carries them.
        kind: where it comes from.
        factory: name of the callable that returns the network.
        path: the source file; None for a module without one.
        sha256: of the very bytes that `build` runs; None without a source file.
    """

    spec: str
    args: Mapping[str, object]
    kind: Kind
    factory: str
    path: Path | None
    sha256: str | None
    _source: bytes = field(repr=False, compare=False)
    _load: Callable[[], ModuleType] = field(repr=False, compare=False)

    def build(self) -> "nn.Module":
        """Return a new network; its initial weights come from torch's random state.

        Raises:
            InputError: no such factory, arguments it does not take, it raises, or returns something else.
            MissingDependencyError: torch is not installed.
        """
        try:
            from torch import nn
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.spec}: a model needs torch, which is not installed; run pip install 'bnfold[train]'."
            ) from error
        factory = find_factory(self._load(), self.factory, where=self._where)
        module = call_factory(factory, (), self.args, where=self.spec)
        if not isinstance(module, nn.Module):
            raise InputError(f"{self.spec}: returned {type(module).__name__}, expected a torch.nn.Module.")
        return module

    def member(self, name: str) -> Callable[..., object]:
        """Return a function of the file that the model is in; the file is run.

        Raises:
            InputError: there is none of that name.
        """
        return find_factory(self._load(), name, where=self._where)

    @property
    def recipe(self) -> Recipe:
        """The file's recommendation, empty if it makes none; read without running the file."""
        return read_recipe(self._source, Path(self._where))

    def to_dict(self) -> dict[str, object]:
        """Return what a run's record keeps, fit for JSON."""
        path = None if self.path is None else str(self.path.resolve())
        return {
            "spec": self.spec,
            "kind": self.kind.value,
            "factory": self.factory,
            "args": dict(self.args),
            "path": path,
            "sha256": self.sha256,
        }

    @property
    def _where(self) -> str:
        return self.spec if self.path is None else str(self.path)


def resolve_model(spec: str, args: Mapping[str, object], builtins: Path) -> ModelSource:
    """Return the source that ``spec`` names.

    - ``digits-cnn``: the file ``digits_cnn.py`` in ``builtins``, its function ``build``;
    - ``path/file.py:factory``: the file is read and hashed now, and run by `ModelSource.build` only;
    - ``package.module:factory``: the module is imported now; the working directory comes last on its path.

    Args:
        spec: one of the above.
        args: keyword arguments for the factory, anything that JSON can carry.
        builtins: folder of the built-in models.

    Raises:
        InputError: no such name, file or module, or arguments that JSON cannot carry.
    """
    args = _as_json(spec, args)
    place, colon, factory = spec.rpartition(":")
    if not colon:
        return _builtin(spec, args, builtins)
    if place.endswith(".py") and factory:
        return _from_file(spec, args, Kind.FILE, Path(place), factory)
    if _MODULE.fullmatch(place) and factory:
        return _from_module(spec, args, place, factory)
    raise InputError(f"{spec}: expected a built-in name, FILE.py:FACTORY or PACKAGE.MODULE:FACTORY.")


def builtin_names(builtins: Path) -> list[str]:
    """Return the names of the models in the folder ``builtins``: ``digits_cnn.py`` is ``digits-cnn``."""
    files = require_directory(builtins).glob("[!_]*.py")
    return sorted(file.stem.replace("_", "-") for file in files)


def _builtin(spec: str, args: Mapping[str, object], builtins: Path) -> ModelSource:
    names = builtin_names(builtins)
    if spec.endswith(".py"):
        raise InputError(f"{spec}: which function? Write {spec}:{BUILTIN_FACTORY} if it is named {BUILTIN_FACTORY}.")
    if spec not in names:
        raise InputError(
            f"{spec}: no such model{did_you_mean(spec, names)}; built in: {', '.join(names)}; or FILE.py:FACTORY or "
            "PACKAGE.MODULE:FACTORY."
        )
    path = builtins / f"{spec.replace('-', '_')}.py"
    return _from_file(spec, args, Kind.BUILTIN, path, BUILTIN_FACTORY)


def _from_file(spec: str, args: Mapping[str, object], kind: Kind, path: Path, factory: str) -> ModelSource:
    source = read_source(path)
    return ModelSource(spec, args, kind, factory, path, sha256(source), source, partial(load_file, path, source))


def _from_module(spec: str, args: Mapping[str, object], name: str, factory: str) -> ModelSource:
    module = import_module(name)
    path = None if module.__file__ is None else Path(module.__file__)
    if path is None or path.suffix != ".py":
        return ModelSource(spec, args, Kind.MODULE, factory, None, None, b"", lambda: module)
    source = read_source(path)
    return ModelSource(spec, args, Kind.MODULE, factory, path, sha256(source), source, lambda: module)


def _as_json(spec: str, args: Mapping[str, object]) -> dict[str, object]:
    """Return ``args`` as a run's record would give them back, so that a rebuilt model gets the same."""
    try:
        return json.loads(json.dumps(dict(args), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"{spec}: a model argument that JSON cannot carry: {error}.") from error
