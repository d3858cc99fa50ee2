from pathlib import Path
from typing import cast

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from bnfold.errors import InputError
from bnfold_cli.app import app

ROOT = cast("TyperGroup", get_command(app))


def _parsed(command: str, *arguments: str) -> dict[str, object]:
    """Return what the command's function would be called with."""
    with ROOT.commands[command].make_context(command, list(arguments), parent=typer.Context(ROOT)) as context:
        return context.params


def _train(*arguments: str) -> dict[str, object]:
    return _parsed("train", "digits-cnn", "--data", "digits", "-o", "run", *arguments)


@pytest.fixture
def all_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same option, set differently in every place that can set it."""
    Path("pyproject.toml").write_text("[tool.bnfold.train]\nepochs = 1\nbatch-size = 11\nseed = 21\n")
    Path("own.toml").write_text("[train]\nepochs = 2\nbatch_size = 12\n")
    monkeypatch.setenv("BNFOLD_TRAIN_EPOCHS", "3")


@pytest.mark.usefixtures("all_sources")
def test_sources_go_in_order() -> None:
    """Command line, then environment, then --config, then pyproject.toml, then the default."""
    assert _train("--epochs", "4", "--config", "own.toml")["epochs"] == 4
    values = _train("--config", "own.toml")
    assert (values["epochs"], values["batch_size"], values["seed"]) == (3, 12, 21)
    values = _train()
    assert (values["batch_size"], values["force"]) == (11, False)


@pytest.mark.usefixtures("all_sources")
def test_environment_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """``BNFOLD_CONFIG`` stands for ``--config`` in every command."""
    monkeypatch.setenv("BNFOLD_CONFIG", "own.toml")
    assert _train()["batch_size"] == 12


def test_a_table_is_a_list_of_pairs() -> None:
    """``model-arg`` may be a TOML table; it arrives as the command line would write it."""
    Path("own.toml").write_text('[train]\nmodel-arg = { width = 24, name = "a b" }\n')
    assert _train("--config", "own.toml")["model_arg"] == ["width=24", 'name="a b"']


def test_another_projects_tables_are_left_alone() -> None:
    """A pyproject.toml without a table of ours sets nothing."""
    Path("pyproject.toml").write_text("[tool.other]\nepochs = 1\n")
    assert _train()["epochs"] is None


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("own.toml", "[train]\nepoch = 2\n", r"own\.toml: \[train\]: unknown key 'epoch'; did you mean 'epochs'\?"),
        ("own.toml", "[fold]\nxyz = 2\n", r"own\.toml: \[fold\]: unknown key 'xyz'; choose from .*explain"),
        (
            "own.toml",
            "[tarin]\nepochs = 2\n",
            r"own\.toml: \[tarin\]: there is no such command; did you mean 'train'\?",
        ),
        ("own.toml", "epochs = 2\n", r"own\.toml: \[epochs\]: there is no such command"),
        ("own.toml", "train = 2\n", r"own\.toml: train: expected a table, found 2"),
        ("pyproject.toml", "[tool]\nbnfold = 2\n", r"pyproject\.toml: tool\.bnfold: expected a table, found 2"),
        ("own.toml", "[train\n", r"own\.toml: not TOML: "),
        ("own.toml", "[train]\njson = true\n", r"own\.toml: \[train\]: unknown key 'json'"),
        (
            "pyproject.toml",
            "[tool.bnfold.train]\nepoch = 2\n",
            r"pyproject\.toml: \[tool\.bnfold\.train\]: unknown key",
        ),
        ("missing.toml", None, r"no\.toml: no such file"),
    ],
)
def test_what_a_file_gets_wrong_is_named(file: str, text: str | None, message: str) -> None:
    """A key, table or file that is wrong is named together with the file, and what was meant is guessed."""
    if text is not None:
        Path(file).write_text(text)
    with pytest.raises(InputError, match=message):
        _train("--config", file if text else "no.toml")


def test_a_misspelt_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that looks like one of ours but sets nothing is refused rather than ignored."""
    monkeypatch.setenv("BNFOLD_TRAIN_EPOCH", "3")
    with pytest.raises(InputError, match=r"BNFOLD_TRAIN_EPOCH: .*did you mean 'BNFOLD_TRAIN_EPOCHS'\?"):
        _train()


def test_a_value_of_the_wrong_type_names_its_source() -> None:
    """The message tells that the value was not on the command line."""
    from bnfold_cli.__main__ import main

    Path("own.toml").write_text('[train]\nepochs = "many"\n')
    assert main(["train", "digits-cnn", "--data", "digits", "-o", "run", "--config", "own.toml"]) == 2
