"""When a run folder may name code: it may come from elsewhere, and to open it must not run what its user never saw.

A file is run on a run's word only while it is what it was when its user named it: the recorded SHA-256. That says
nothing about files that everybody has, such as those of Python and installed packages, whose functions a forged record
could call with arguments of its own; for those, and for modules, the user has to say the name again.
"""

import sysconfig
from pathlib import Path

from bnfold.data.factories import read_source, sha256
from bnfold.errors import InputError

_SHARED = ("stdlib", "platstdlib", "purelib", "platlib")


def require_unchanged(path: Path, recorded: str | None, *, option: str) -> None:
    """Check that a run may have the file ``path`` run.

    Raises:
        InputError: it is missing, has changed since, or is everybody's; tells to name it again by ``option``.
    """
    again = f"name it again with {option} if you trust it"
    if _is_everybodys(path):
        raise InputError(f"{path}: the run names a file of Python or an installed package; {again}.")
    if not path.is_file():
        raise InputError(f"{path}: the run names this file, but there is none; say where it is now with {option}.")
    if sha256(read_source(path)) != recorded:
        raise InputError(f"{path}: changed since the run was made; {again}.")


def _is_everybodys(path: Path) -> bool:
    roots = [Path(sysconfig.get_path(name)).resolve() for name in _SHARED]
    return any(path.resolve().is_relative_to(root) for root in roots)
