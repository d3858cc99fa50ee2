"""What the tests of the folding engine share: a rule broken on purpose, where the process was started for that."""

from collections.abc import Iterator

import pytest

from tests.folding import mutants


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that name the operator whose rule is broken: most faults show there."""
    mutants.sort_by_operator(items)


@pytest.fixture(autouse=True, scope="session")
def _infected() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        mutants.infect(patch)
        yield
