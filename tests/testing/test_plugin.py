import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.verify.graphs import network, random_layers, right, saved, wrong_epsilon

pytest_plugins = "pytester"

# Where bnfold is installed, the outer pytest has imported the plugin by its entry point already.
KNOWN = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
OPTIONS = ("-p", "bnfold.testing.plugin", "-W", "error", *KNOWN, "--strict-markers", "-p", "no:cacheprovider")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with three models, whose pytest loads this plugin and no other, and takes warnings for errors."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    saved(network(random_layers()), Path("original.onnx"))
    saved(network(random_layers(), right), Path("folded.onnx"))
    saved(network(random_layers(), wrong_epsilon), Path("wrong.onnx"))
    return pytester


def run(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run pytest on one test file."""
    project.makepyfile(test)
    return project.runpytest_inprocess(*OPTIONS, *options)


def test_the_fixture_passes_and_fails_with_the_models(project: pytest.Pytester) -> None:
    """One right, one wrong; the failure is the message, without the plugin's own frames."""
    result = run(
        project,
        """
        def test_right(assert_equivalent):
            assert assert_equivalent("original.onnx", "folded.onnx", samples=5).samples == 5

        def test_wrong(assert_equivalent):
            assert_equivalent("original.onnx", "wrong.onnx", samples=5)
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*NotEquivalentError: wrong.onnx does not compute what original.onnx does, on cpu",
            "*look closer: bnfold verify*",
        ]
    )
    result.stdout.no_fnmatch_line("*bnfold/testing/plugin.py*")
    result.stdout.no_fnmatch_line("*bnfold/testing/equivalence.py:*")


def test_the_marker_and_the_command_line_set_defaults(project: pytest.Pytester) -> None:
    """The call goes before the test's marker, that before its module's, and that before the command line."""
    result = run(
        project,
        """
        import pytest
        pytestmark = pytest.mark.bnfold(samples=7, provider="cpu")

        def test_module(assert_equivalent):
            assert assert_equivalent("original.onnx", "folded.onnx").samples == 7

        @pytest.mark.bnfold(samples=6)
        def test_nearest(assert_equivalent):
            assert assert_equivalent("original.onnx", "folded.onnx").samples == 6
            assert assert_equivalent("original.onnx", "folded.onnx", samples=5).samples == 5
        """,
        "--bnfold-provider",
        "cuda",
    )
    result.assert_outcomes(passed=2)


def test_the_command_line_chooses_the_provider(project: pytest.Pytester) -> None:
    """A provider that is none is an error of the test."""
    test = "def test_it(assert_equivalent): assert_equivalent('original.onnx', 'folded.onnx')"
    result = run(project, test, "--bnfold-provider", "abacus")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*InputError: provider 'abacus': expected one of cpu, cuda, tensorrt*"])


def test_a_misspelt_marker_is_an_error(project: pytest.Pytester) -> None:
    """It would be ignored in silence otherwise."""
    result = run(
        project,
        """
        import pytest

        @pytest.mark.bnfold(sample=6)
        def test_it(assert_equivalent):
            assert_equivalent("original.onnx", "folded.onnx")
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*marker bnfold of *test_it: sample: it takes provider, samples, seed, inputs.*"])


def test_reports_are_written_and_verdicts_recorded(project: pytest.Pytester) -> None:
    """For each comparison of a test a page and its figures, also of one that failed; the verdict in JUnit XML."""
    run(
        project,
        """
        import pytest

        @pytest.mark.parametrize("name", ["folded.onnx", "wrong.onnx"])
        def test_it(assert_equivalent, name):
            assert_equivalent("original.onnx", name, samples=5)
        """,
        "--bnfold-reports",
        "reports",
        "--junit-xml",
        "junit.xml",
    )
    found = {path.suffix: json.loads(path.read_text()) for path in Path("reports").glob("*folded*.json")}
    assert [document["verdict"] for document in found.values()] == ["equivalent"]
    assert len(list(Path("reports").glob("*.html"))) == 2
    properties = ET.parse("junit.xml").findall(".//property")  # noqa: S314  (our own file)
    assert [(each.get("name"), each.get("value")) for each in properties] == [
        ("bnfold.verdict", "equivalent"),
        ("bnfold.verdict", "not-equivalent"),
    ]


def test_a_project_that_does_not_use_it_does_not_notice(project: pytest.Pytester) -> None:
    """Nothing is imported, and no warning is raised, in a run with strict options."""
    result = project.runpytest_subprocess(
        *OPTIONS,
        project.makepyfile(
            """
            import sys

            def test_it():
                assert not {"numpy", "onnx", "onnx_ir", "onnxruntime", "bnfold.verify"} & sys.modules.keys()
            """
        ),
    )
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*warning*")
