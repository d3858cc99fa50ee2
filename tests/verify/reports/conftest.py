from pathlib import Path

import pytest

from tests.verify.graphs import right, wrong_epsilon
from tests.verify.reports.documents import Document, verified, with_folds, with_trials


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The report of a right fold, as it is written."""
    return verified(tmp_path_factory.mktemp("good"), right).to_dict()


OPTIONAL = ("diagnosis", "localization", "mutation", "stability", "edge_cases", "figures_explained", "inputs", "folds")


@pytest.fixture(scope="session")
def plain(good: Document) -> Document:
    """The same report with nothing but what every report has."""
    document = {key: value for key, value in good.items() if key not in OPTIONAL}
    outputs = [{k: v for k, v in output.items() if k not in {"variation", "histogram"}} for output in good["outputs"]]
    return {**document, "outputs": outputs}


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The report of a fold whose ε is wrong, with everything that a report may hold."""
    folder: Path = tmp_path_factory.mktemp("bad")
    return with_trials(with_folds(verified(folder, wrong_epsilon).to_dict(), folder))


@pytest.fixture(scope="session")
def unattested(plain: Document) -> Document:
    """A report whose work ran elsewhere."""
    finding = {
        "verdict": "not-attested",
        "words": "conv on CPUExecutionProvider",
        "about": "attestation",
        "output": None,
        "rung": None,
    }
    return {**plain, "verdict": "not-attested", "exit_code": 3, "findings": [finding]}


@pytest.fixture(scope="session")
def empty(plain: Document) -> Document:
    """A report in which nothing was compared."""
    nothing = {"outputs": [], "ladder": [], "compared_elements": 0, "findings": [], "batch_sizes": []}
    return {**plain, **nothing, "verdict": "inconclusive", "exit_code": 4}
