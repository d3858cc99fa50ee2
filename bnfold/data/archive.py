"""``npz:FILE``: arrays named after the model's inputs, and ``y`` for the labels."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.split import Split
from bnfold.errors import InputError
from bnfold.files import require_file

_LABELS = "y"
_TEST = "test_"


def archive(path: Path, split: Split) -> Dataset:
    """Return the data of an ``.npz`` file, read without pickle.

    ``test_<name>`` beside ``<name>`` holds the test split of ``<name>``; without any of them the file is used whole for
    both splits.

    Raises:
        InputError: not an archive of numeric arrays, or the test arrays are not complete.
    """
    arrays = _read(require_file(path))
    test = {name: array for name, array in arrays.items() if name.startswith(_TEST) and name[len(_TEST) :] in arrays}
    chosen = {name: array for name, array in arrays.items() if name not in test}
    if split is Split.TEST and test:
        chosen = _test_arrays(path, names=chosen, test=test)
    inputs = {name: array for name, array in chosen.items() if name != _LABELS}
    return Dataset(f"npz:{path}", inputs, chosen.get(_LABELS))


def _test_arrays(path: Path, *, names: Mapping[str, Array], test: Mapping[str, Array]) -> dict[str, Array]:
    missing = [_TEST + name for name in names if _TEST + name not in test]
    if missing:
        raise InputError(f"npz:{path}: has {', '.join(test)}, but no {', '.join(missing)}; give all of them or none.")
    return {name: test[_TEST + name] for name in names}


def _read(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:  # given a path, numpy leaves the file open if it is no archive
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise InputError(f"npz:{path}: a single array; expected an archive as numpy.savez writes it.")
            # An array's bytes are read, and refused if they are a pickle, when it is taken out.
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy's own words are about pickles, and advise to allow them.
        raise InputError(f"npz:{path}: not a readable archive of numeric arrays, as numpy.savez writes it.") from error
