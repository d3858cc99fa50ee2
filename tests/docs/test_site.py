"""The documentation site promises nothing that is not there; `make docs` builds it with warnings as errors."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest
import typer
import yaml
from typer.core import TyperCommand

from docs.hooks.families import folded
from docs.hooks.options import ROOT as COMMANDS
from docs.hooks.site import MAKERS, on_page_markdown
from tests.documents import commands, make_targets

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def nav_pages(entries: Any) -> list[str]:
    """Return the pages of a navigation, in its order."""
    if isinstance(entries, str):
        return [entries]
    parts = entries.values() if isinstance(entries, dict) else entries
    return [page for part in parts for page in nav_pages(part)]


NAV = nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])


def parsed(line: str) -> str:
    """Return the kind of a command line, after it was parsed as far as it can be without being run."""
    words = shlex.split(line)
    match words:
        case ["bnfold", option] if option.startswith("-"):
            return "bnfold"
        case ["bnfold", name, *arguments]:
            command = cast("TyperCommand", COMMANDS.commands[name])
            with command.make_context(name, arguments, parent=typer.Context(COMMANDS)) as context:
                assert context.params["debug"] is False
            return "bnfold"
        case ["torchrun", *_]:
            launcher, module, rest = line.partition(" -m bnfold_cli ")
            assert module, f"no command of bnfold: {launcher}"
            return parsed(f"bnfold {rest}")
        case ["make", target]:
            assert target in make_targets((ROOT / "Makefile").read_text()), f"no such target: {target}"
            return "make"
        case ["python", "-m", module, *_]:
            assert find_spec(module) is not None, f"no such module: {module}"
            return "python"
        case ["python", script] if script.endswith(".py"):  # a file of README, which test_readme writes and runs
            return "python"
        case _:
            raise AssertionError(f"neither bnfold nor make nor python: {line}")


def test_the_navigation_is_the_pages() -> None:
    """Every page of the navigation exists, once, and every page that exists can be reached."""
    assert len(NAV) == len(set(NAV))
    assert sorted(NAV) == [page.relative_to(DOCS).as_posix() for page in PAGES]


def test_every_command_has_its_page() -> None:
    """A command that is added gets a how-to with its options, and is listed."""
    listed = (DOCS / "commands/index.md").read_text()
    for name in COMMANDS.commands:
        assert f"<!-- options: {name} -->" in (DOCS / f"commands/{name}.md").read_text()
        assert f"[{name}]({name}.md)" in listed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_pages_are_made_and_their_commands_parse(page: Path) -> None:
    """Directives can be carried out, none is left over, and every command that the page shows is one that parses."""
    made = on_page_markdown(page.read_text())
    assert not re.findall(r"^<!-- [a-z]+: .* -->$", made, flags=re.MULTILINE)
    assert {parsed(line) for line in commands(made)} <= {"bnfold", "make", "python"}


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("bnfold fold model.onnx -o f.onnx --no-such-option", "NoSuchOption", "--no-such-option"),
        ("bnfold unknown model.onnx", "KeyError", "unknown"),
        ("make nothing", "AssertionError", "no such target: nothing"),
        ("python -m no_such_module_here", "AssertionError", "no such module: no_such_module_here"),
        ("rm -rf x", "AssertionError", "rm -rf x"),
    ],
)
def test_wrong_commands_would_be_noticed(line: str, error: str, message: str) -> None:
    """The check above fails on an option, a command, a target or a module that does not exist."""
    with pytest.raises(Exception, match=message) as caught:  # typer does not export the parser's own errors
        parsed(line)
    assert type(caught.value).__name__ == error


def test_an_unknown_directive_is_an_error() -> None:
    """A misspelt directive does not become a comment that nobody sees."""
    with pytest.raises(KeyError, match="operatorz"):
        on_page_markdown("<!-- operatorz: what it carries -->")
    assert set(MAKERS) == {"api", "estimators", "operators", "options", "readme", "source"}


def test_a_family_claims_what_the_engine_does() -> None:
    """A page that says one more BN stays than does is an error that names both."""
    page = (DOCS / "families/gates.md").read_text()
    assert "folded into `weight`" in folded(page)
    with pytest.raises(ValueError, match="the page says 'kept 2, with no-bn 1', the engine 'kept 1, with no-bn 1'"):
        folded(page.replace("kept 1, with", "kept 2, with"))


def test_every_own_link_leads_somewhere() -> None:
    """Relative links of the pages, as they stand and as they are made, name files of the folder."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
