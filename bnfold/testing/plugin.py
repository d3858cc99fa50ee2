"""The pytest plugin: a fixture, a marker, and two options; pytest loads it by the entry point ``pytest11``.

    def test_export(assert_equivalent):
        assert_equivalent("model.onnx", "folded.onnx")

    @pytest.mark.bnfold(provider="cuda", samples=256)
    def test_on_the_device(assert_equivalent): ...

Every run of pytest in an environment with bnfold loads this file: it imports nothing but pytest until a test asks.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bnfold.testing.equivalence import Model
    from bnfold.verify import VerificationReport

MARKER = "bnfold"
_KEYWORDS = ("provider", "samples", "seed", "inputs")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line."""
    group = parser.getgroup("bnfold", "equivalence of ONNX models")
    group.addoption(
        "--bnfold-provider",
        metavar="NAME",
        help="Where the assert_equivalent fixture runs candidates: cpu, cuda or tensorrt; a test's marker goes before.",
    )
    group.addoption(
        "--bnfold-reports",
        metavar="FOLDER",
        help="Write a report (.html and .json) of every comparison of the assert_equivalent fixture to this folder.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    text = "defaults of the assert_equivalent fixture in this test: provider, samples, seed, inputs."
    config.addinivalue_line("markers", f"{MARKER}(provider=..., samples=..., seed=..., inputs=...): {text}")


@pytest.fixture
def assert_equivalent(request: pytest.FixtureRequest) -> "Callable[..., VerificationReport]":
    """Return ``bnfold.testing.assert_equivalent`` with the defaults of the marker ``bnfold`` and of the command line.

    The verdict becomes a property of the test (in JUnit XML), and with ``--bnfold-reports FOLDER`` a report is written.
    """
    defaults = _defaults(request)
    folder: str | None = request.config.getoption("--bnfold-reports")
    comparisons = 0

    def compare(onnx_a: "Model", onnx_b: "Model", **keywords: Any) -> "VerificationReport":
        __tracebackhide__ = True
        nonlocal comparisons
        comparisons += 1
        from bnfold.testing import equivalence

        try:
            report = equivalence.assert_equivalent(onnx_a, onnx_b, **{**defaults, **keywords})
        except equivalence.NotEquivalentError as error:
            _record(request, error.report, folder, comparisons)
            raise
        _record(request, report, folder, comparisons)
        return report

    return compare


def _defaults(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the keywords that markers set, the nearest first, else the command line."""
    provider: str | None = request.config.getoption("--bnfold-provider")
    found: dict[str, Any] = {} if provider is None else {"provider": provider}
    for marker in reversed(list(request.node.iter_markers(MARKER))):
        keywords: Mapping[str, Any] = marker.kwargs
        unknown = keywords.keys() - set(_KEYWORDS)
        if marker.args or unknown:
            told = ", ".join(sorted(unknown)) or "a positional argument"
            raise pytest.UsageError(f"marker bnfold of {request.node.nodeid}: {told}: it takes {', '.join(_KEYWORDS)}.")
        found |= keywords
    return found


def _record(request: pytest.FixtureRequest, report: "VerificationReport", folder: str | None, number: int) -> None:
    request.node.user_properties.append(("bnfold.verdict", report.verdict.value))
    if folder is None:
        return
    from bnfold.files import atomic_file
    from bnfold.verify.reports import report_text

    test = re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-.")[-150:]
    for suffix in (".html", ".json"):
        path = Path(folder) / f"{test}-{number}{suffix}"
        with atomic_file(path) as temporary:
            temporary.write_text(report_text(report.to_dict(), path), encoding="utf-8")
