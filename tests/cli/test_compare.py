import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Run

# Accuracies at steps 10, 20, 30 of three runs; the first two share a recipe.
_MEASURED = {"plain-0": (0.1, 0.4, 0.6), "plain-1": (0.2, 0.6, 0.8), "wide": (0.5, 0.9, 0.85)}


def _recorded(
    folder: Path, *, seed: int, width: int, accuracies: tuple[float, ...], data: str = "digits", **settings: object
) -> Path:
    """Write what `compare` reads of a run: its record and its measurements, as `bnfold train` does."""
    folder.mkdir()
    record: dict[str, Any] = {
        "schema": "bnfold.run/1",
        "finished": False,
        "model": {"spec": "net", "kind": "built-in", "factory": "build", "args": {"width": width}, "sha256": "0"},
        "data": {"spec": data, "digest": {"train": "0123456789", "test": "abcdef"}},
        "inputs": {},
        "hyperparameters": {"seed": seed, "learning_rate": 0.1, **settings},
    }
    (folder / "run.json").write_text(json.dumps(record))
    lines = [
        {"step": 10 * (place + 1), "test_loss": 1 - accuracy, "metrics": {"accuracy": accuracy}}
        for place, accuracy in enumerate(accuracies)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs of one recipe, and one of another."""
    return [
        _recorded(tmp_path / name, seed=seed, width=24 if name == "wide" else 16, accuracies=_MEASURED[name])
        for seed, name in enumerate(_MEASURED)
    ]


def test_runs_that_differ_in_their_seed_share_a_row(bnfold: Run, runs: list[Path]) -> None:
    """Medians and ranges are over the runs of a recipe; the target is the median best of the first recipe."""
    outcome = bnfold("compare", *runs, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    plain, wide = found["recipes"]
    assert (plain["name"], wide["name"]) == ("net width 16", "net width 24")
    assert plain["best"] == pytest.approx({"median": 0.7, "low": 0.6, "high": 0.8})
    assert found["target"] == pytest.approx(0.7)
    # Of the first recipe one run of two gets to 0.7: the median is never reached, and JSON has no infinity.
    assert plain["reached"] == 1
    assert plain["steps"] == {"median": None, "low": 30, "high": None}
    assert wide["steps"] == {"median": 20, "low": 20, "high": 20}
    assert [point["median"] for point in plain["curve"]] == pytest.approx([0.15, 0.5, 0.7])


def test_recipes_are_told_apart_by_what_changes_a_training(bnfold: Run, runs: list[Path], tmp_path: Path) -> None:
    """What is measured, and when, is none of it; a rate is, and a data set, which is named by the end of its path."""
    values = _MEASURED["plain-0"]
    again = _recorded(tmp_path / "again", seed=7, width=16, accuracies=values, evaluate_every=10, keep="best")
    faster = _recorded(tmp_path / "fast", seed=0, width=16, accuracies=values, momentum=0.1 + 0.2)
    folder = "npz:/home/someone/some/rather/long/folder"
    other = _recorded(tmp_path / "other", seed=0, width=16, accuracies=values, data=f"{folder}/cats.npz")
    found = json.loads(bnfold("compare", *runs[:2], again, faster, other, "--json").out)["recipes"]
    assert [(recipe["name"], len(recipe["runs"])) for recipe in found] == [
        ("net data digits", 3),
        ("net data digits, momentum 0.3", 1),
        ("net data …/rather/long/folder/cats.npz", 1),
    ]


def test_a_table_of_long_names_fits_a_terminal(
    bnfold: Run, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns names are folded and figures are whole."""
    monkeypatch.setenv("COLUMNS", "80")
    long = {f"an_option_with_a_long_name_{place}": "a value" for place in range(4)}
    other = _recorded(tmp_path / "other", seed=0, width=16, accuracies=_MEASURED["wide"], **long)
    lines = bnfold("compare", *runs[:2], other).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("70.00 % (60.00 to 80.00)" in line and "– (30 to –)" in line for line in lines)


def test_a_measure_of_which_small_values_are_good(bnfold: Run, runs: list[Path]) -> None:
    """For the loss the best is the smallest, and a target is met from above."""
    found = json.loads(bnfold("compare", *runs, "--metric", "loss", "--target", "0.15", "--json").out)
    assert [recipe["best"]["median"] for recipe in found["recipes"]] == pytest.approx([0.3, 0.1])
    assert [recipe["reached"] for recipe in found["recipes"]] == [0, 1]


def test_the_table_tells_what_was_not_reached(bnfold: Run, runs: list[Path]) -> None:
    """A median that was not reached is a dash, and how many runs got there is told."""
    rows = bnfold("compare", *runs).out.splitlines()
    (plain,) = (row for row in rows if "width 16" in row)
    assert "70.00 % (60.00 to 80.00)" in plain
    assert "– (30 to –)" in plain
    assert "1 of 2" in plain


def test_pictures_are_drawn_the_same_each_time(bnfold: Run, runs: list[Path], tmp_path: Path) -> None:
    """One command writes both forms; the axes and every recipe are labelled; the same runs give the same bytes."""
    for name in ("first", "second"):
        paths = [tmp_path / f"{name}.{suffix}" for suffix in ("png", "svg")]
        outcome = bnfold("compare", *runs, "--title", "Wide and narrow", "--plot", paths[0], "--plot", paths[1])
        assert outcome.code == 0, outcome.err
    assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "first.svg").read_text()
    for words in ("net width 16 (2 runs)", "net width 24", "test accuracy", "steps", "Wide and narrow"):
        assert words in drawn
    for suffix in ("png", "svg"):
        assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()


def test_a_measurement_cut_short_is_left_out(bnfold: Run, runs: list[Path]) -> None:
    """A training that is going on, or was killed, can be compared as far as it went."""
    with (runs[2] / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "te')
    outcome = bnfold("compare", runs[2], "--json")
    assert outcome.code == 0
    assert [point["step"] for point in json.loads(outcome.out)["recipes"][0]["curve"]] == [10, 20, 30]


def test_a_real_run_can_be_compared(bnfold: Run) -> None:
    """What `bnfold train` writes is what `compare` reads."""
    settings = ("--steps", 4, "--evaluate-every", 2, "--model-arg", "hidden_units=8")
    assert bnfold("train", "sigmoid-mlp", "-o", "run", *settings).code == 0
    outcome = bnfold("compare", "run", "--json")
    assert outcome.code == 0
    (recipe,) = json.loads(outcome.out)["recipes"]
    assert recipe["name"] == "sigmoid-mlp"
    assert [point["step"] for point in recipe["curve"]] == [2, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such directory"),
        (["wide", "--metric", "perplexity"], "wide: no metric 'perplexity'; it has loss, accuracy"),
        (["wide", "--plot", "curves.gif"], "curves.gif: expected a picture, a name that ends with .png, .svg, .pdf"),
        (["wide", "--plot", "wide/run.json"], "wide/run.json: expected a picture"),
        (["wide", "--plot", "there.png"], "there.png: already exists"),
        (["empty"], "empty: has no measurement yet"),
        (["broken"], "broken/metrics.jsonl: not readable"),
    ],
)
def test_bad_input_is_told_in_a_line(bnfold: Run, runs: list[Path], arguments: list[str], message: str) -> None:
    """Exit code 2, one line that names the run, the metric or the file; no picture is begun."""
    folder = runs[2]
    for name, content in (("empty", ""), ("broken", "{\n")):
        shutil.copytree(folder, folder.parent / name)
        (folder.parent / name / "metrics.jsonl").write_text(content)
    Path("there.png").touch()
    before = sorted(Path().rglob("*"))
    outcome = bnfold("compare", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


def test_without_matplotlib_the_message_says_what_to_install(
    bnfold: Run, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table needs no matplotlib, a picture does."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("bnfold_cli.work.curves.find_spec", lambda _: None)
    assert bnfold("compare", runs[0]).code == 0
    outcome = bnfold("compare", runs[0], "--plot", "curves.png")
    assert outcome.code == 2
    assert "pip install 'bnfold[plots]'" in outcome.err
