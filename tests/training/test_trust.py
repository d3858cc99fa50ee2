import sysconfig
from pathlib import Path

import pytest
import torch

from bnfold.errors import InputError
from bnfold.files import sha256
from bnfold.training.trust import require_unchanged


def test_an_unchanged_file_may_run(tmp_path: Path) -> None:
    """The recorded hash is the user's word of then."""
    path = tmp_path / "net.py"
    path.write_text("x = 1\n")
    require_unchanged(path, sha256(path), option="--model")


def test_a_changed_or_unrecorded_file_may_not_run(tmp_path: Path) -> None:
    """Another content, or no recorded hash at all, asks the user again."""
    path = tmp_path / "net.py"
    path.write_text("x = 1\n")
    recorded = sha256(path)
    path.write_text("x = 2\n")
    for word in (recorded, None, ""):
        with pytest.raises(InputError, match=r"net\.py: changed since the run was made; name it again with --model"):
            require_unchanged(path, word, option="--model")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """The user learns which file the run asks for, and how to say where it is."""
    with pytest.raises(InputError, match=r"net\.py: the run names this file, but there is none; say .* --data"):
        require_unchanged(tmp_path / "net.py", "0", option="--data")


@pytest.mark.parametrize("path", [Path(sysconfig.get_path("stdlib")) / "subprocess.py", Path(torch.__file__)])
def test_files_that_everybody_has_may_not_run_on_a_runs_word(path: Path) -> None:
    """The hash of a file of Python's or an installed package's is known to all, and so proves nothing."""
    with pytest.raises(InputError, match="a file of Python or an installed package; name it again with --model"):
        require_unchanged(path, sha256(path), option="--model")
