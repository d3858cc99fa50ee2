"""``hf:NAME-OR-FOLDER``: data through the datasets library: a folder of images, parquet files, or a set of the hub.

Image columns become (N, channels, height, width) in [0, 1], columns of numbers and of nested lists of them arrays, each
an input under its column's name; the label is the column of class labels, else the one that is named so.
"""

import functools
import os
import socket
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.factories import one_line
from bnfold.data.images import decode_images
from bnfold.data.split import Split
from bnfold.errors import InputError, MissingDependencyError

PREFIX = "hf:"
_LABELS = ("label", "labels", "y", "target", "class")
_PATIENCE = 5.0
"""Seconds in which the hub has to answer."""
_TEST = ("test", "validation", "valid", "val")


def hub_data(spec: str, split: Split) -> Dataset:
    """Return one split of a set that the datasets library reads.

    ``train`` is learnt from; ``test``, or else ``validation``, is for the test; a set of a single split is used whole
    for both.

    Args:
        spec: ``hf:`` and a folder, a parquet file, or a name on the hub.
        split: which part.

    Raises:
        InputError: no such set, a broken or missing image, images of different sizes, a missing label, or a class that
            the test has and training has not; names the file or row.
        MissingDependencyError: datasets or Pillow is not installed.
    """
    parts = _parts(spec)
    train = parts.get("train", next(iter(parts.values())))
    test = next((parts[name] for name in _TEST if name in parts), train)
    chosen = test if split is Split.TEST else train
    label = _label_column(train)
    if label is None:
        return Dataset(spec, _inputs(chosen, None, spec), None)
    classes = _classes(train, label, spec)
    return Dataset(spec, _inputs(chosen, label, spec), _labels(chosen, label, classes, spec))


@functools.lru_cache(maxsize=2)
def _parts(spec: str) -> Mapping[str, Any]:
    """Return the splits, images not decoded yet, so that a broken one can be named."""
    for distribution, module in (("datasets", "datasets"), ("pillow", "PIL")):
        if find_spec(module) is None:
            raise MissingDependencyError(f"{spec}: {distribution} is not installed; run pip install 'bnfold[hf]'.")
    import datasets

    place = spec.removeprefix(PREFIX)
    if not Path(place).exists():
        _require_reachable(spec, place)
    drawn = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        if place.endswith(".parquet"):
            found = datasets.load_dataset("parquet", data_files=place)
        else:
            found = datasets.load_dataset(place)
    except Exception as error:
        raise InputError(f"{spec}: could not be read: {one_line(error)}.") from error
    finally:
        if not drawn:
            datasets.enable_progress_bars()
    parts: dict[str, Any] = {str(name): part for name, part in found.items()}
    for name, part in parts.items():
        for column, feature in part.features.items():
            if isinstance(feature, datasets.Image):
                parts[name] = parts[name].cast_column(column, datasets.Image(decode=False))
    return parts


def _require_reachable(spec: str, place: str) -> None:
    """Check that a name can be one of the hub, and that the hub answers: the library tries for minutes.

    Behind a proxy, and where the user wants what was downloaded before, the library is left to find out.
    """
    if place.startswith((".", "/", "~")) or place.count("/") > 1 or place.endswith(".parquet"):
        raise InputError(f"{spec}: no such file or folder.")
    from datasets import config

    if config.HF_HUB_OFFLINE or getproxies():
        return
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        socket.create_connection((hub.hostname or "", hub.port or 443), timeout=_PATIENCE).close()
    except OSError as error:
        raise InputError(
            f"{spec}: is no folder here, and {hub.hostname} cannot be reached ({error.strerror or error}); name a "
            "folder of images or a parquet file, or set HF_HUB_OFFLINE=1 to use what was downloaded before."
        ) from error


def _label_column(part: Any) -> str | None:
    import datasets

    of_classes = [name for name, feature in part.features.items() if isinstance(feature, datasets.ClassLabel)]
    named = [name for name in _LABELS if name in part.features]
    return next(iter([*of_classes, *named]), None)


def _inputs(part: Any, label: str | None, spec: str) -> dict[str, Array]:
    import datasets

    inputs: dict[str, Array] = {}
    for name, feature in part.features.items():
        if isinstance(feature, datasets.Image):
            inputs[name] = decode_images(part[name][:], spec)
        elif name != label and _is_numeric(feature):
            inputs[name] = _numbers(part[name][:], name, spec)
    if not inputs:
        kinds = ", ".join(f"{name} {type(feature).__name__}" for name, feature in part.features.items())
        raise InputError(f"{spec}: no column of images or numbers to train on, only {kinds}.")
    return inputs


def _is_numeric(feature: Any) -> bool:
    """Return whether a column holds numbers, or lists of lists … of them."""
    inner = getattr(feature, "feature", None)
    if inner is not None:
        return _is_numeric(inner)
    kind = str(getattr(feature, "dtype", ""))
    return kind == "bool" or kind.startswith(("int", "uint", "float"))


def _numbers(values: Sequence[Any], name: str, spec: str) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{spec}: column {name} holds lists of different lengths.") from error
    if array.dtype.kind not in "biuf":
        row = next((place for place, value in enumerate(values) if value is None), 0)
        raise InputError(f"{spec}: column {name} has no number in row {row}.")
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _classes(train: Any, label: str, spec: str) -> list[Any]:
    """Return the values of the training labels: a text's class is its place among them."""
    return sorted(set(_present(train, label, spec)), key=lambda value: (str(type(value)), value))


def _labels(part: Any, label: str, classes: list[Any], spec: str) -> Array:
    values = _present(part, label, spec)
    known = set(classes)
    if any(isinstance(value, float) for value in values):
        return np.asarray(values, dtype=np.float32)
    for row, value in enumerate(values):
        if value not in known:
            raise InputError(
                f"{spec}: {_row(part, row)}: class {_shown(part, label, value)!r} is not among those of the training "
                f"split: {', '.join(str(_shown(part, label, each)) for each in classes[:20])}."
            )
    if any(isinstance(value, str) for value in classes):
        numbers = {value: number for number, value in enumerate(classes)}
        return np.asarray([numbers[value] for value in values])
    return np.asarray(values)


def _present(part: Any, label: str, spec: str) -> list[Any]:
    values = part[label][:]
    missing = next((row for row, value in enumerate(values) if value is None or value == ""), None)
    if missing is not None:
        raise InputError(f"{spec}: {_row(part, missing)}: no label in column {label}.")
    return values


def _shown(part: Any, label: str, value: Any) -> Any:
    """Return a class by its name, where it has one."""
    names = getattr(part.features[label], "names", None)
    return names[value] if names and 0 <= value < len(names) else value


def _row(part: Any, row: int) -> str:
    """Return the file of an image's row, else its number."""
    import datasets

    for name, feature in part.features.items():
        if isinstance(feature, datasets.Image):
            path = part[row][name]["path"]
            if path and Path(path).is_absolute():
                return str(path)
    return f"row {row}"
