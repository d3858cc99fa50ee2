"""What the tests of the folding engine share: a rule broken on purpose, where the process was started for that."""

from collections.abc import Iterator

import pytest

from tests.folding import mutants


@pytest.fixture(autouse=True, scope="session")
def _infected() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        mutants.infect(patch)
        yield
