import shlex
import subprocess
import sys
from typing import cast

import pytest
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from bnfold_cli.app import app
from bnfold_cli.versions import SHOWN
from tests.cli.running import Run, bnfold_process, child_environment

ROOT = cast("TyperGroup", get_command(app))
COMMANDS = sorted(ROOT.commands)
HEAVY = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "numpy", "pydantic", "sklearn")


def _command(name: str) -> TyperCommand:
    return cast("TyperCommand", ROOT.commands[name])


def _examples(name: str) -> list[str]:
    lines = (_command(name).epilog or "").splitlines()
    return [line.rpartition("[/] ")[2].replace("\\[", "[") for line in lines if "$" in line]


def test_the_commands_are_those_of_the_design() -> None:
    """Each step of the chain is a command, and nothing else is."""
    assert COMMANDS == [
        "bench",
        "calibrate",
        "compare",
        "demo",
        "diff",
        "doctor",
        "export",
        "fold",
        "inspect",
        "train",
        "verify",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_page_and_option_has_help(name: str) -> None:
    """A command without a description, or an option without help text, cannot slip in."""
    command = _command(name)
    assert command.help
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_page_ends_with_examples_that_parse(name: str) -> None:
    """Examples are command lines that the parser takes, so that none goes stale."""
    examples = _examples(name)
    assert examples
    for example in examples:
        program, command, *arguments = shlex.split(example)
        assert (program, command) == ("bnfold", name)
        with _command(name).make_context(name, arguments, parent=typer.Context(ROOT)) as context:
            assert context.params["debug"] is False


@pytest.mark.parametrize("name", COMMANDS)
def test_help_pages_fit_a_terminal(bnfold: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """At 80 columns nothing is cut: every option's name stands whole in its page."""
    monkeypatch.setenv("COLUMNS", "80")
    outcome = bnfold(name, "--help")
    assert outcome.code == 0
    assert max(len(line) for line in outcome.out.splitlines()) <= 80
    assert "…" not in outcome.out
    options = [parameter for parameter in _command(name).params if isinstance(parameter, TyperOption)]
    assert [option.opts[0] for option in options if option.opts[0] not in outcome.out] == []


def test_help_alone_imports_nothing_heavy() -> None:
    """``bnfold --help`` answers at once because none of the heavy packages is loaded for it."""
    program = (
        "import sys\n"
        "from bnfold_cli.__main__ import main\n"
        "assert main(['--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=child_environment(), check=True
    )
    assert "calibrate" in done.stdout
    assert done.stderr.strip() == "[]"


def test_no_command_shows_help_as_a_usage_error(bnfold: Run) -> None:
    """``bnfold`` alone tells what there is, but did not do anything that could be called success."""
    outcome = bnfold()
    assert outcome.code == 2
    assert "calibrate" in outcome.out


def test_version_names_what_results_depend_on(bnfold: Run) -> None:
    """``--version`` starts with bnfold and tells the version of each distribution or that it is absent."""
    outcome = bnfold("--version")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == list(SHOWN)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bnfold ver", ["verify"]),
        ("bnfold train digits-", ["digits-cnn"]),
        ("bnfold calibrate run --estimator p", ["pooled"]),
        ("bnfold verify bundle --provider c", ["cpu", "cuda"]),
        ("bnfold train digits-cnn --data d", ["digits"]),
    ],
)
def test_completion_offers_commands_models_and_choices(words: str, offered: list[str]) -> None:
    """The shell completes commands, built-in models, data and the values of an option."""
    outcome = bnfold_process(_BNFOLD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert set(offered) <= set(outcome.out.split())


def test_completion_script_can_be_shown() -> None:
    """The script that a shell sources names the program."""
    outcome = bnfold_process(_BNFOLD_COMPLETE="source_bash")
    assert "_bnfold_completion" in outcome.out
