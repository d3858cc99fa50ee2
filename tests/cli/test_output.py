import io
import json
import math
import os
import sys
import warnings

import pytest
from rich.table import Table

from bnfold.progress import silent
from bnfold_cli.output import Output, write


def _table(name: str) -> Table:
    table = Table("name", "value")
    table.add_row(name, "[1]")
    return table


def test_json_is_one_strict_object(capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints one object, with null where JSON has no number for the value, and no table."""
    with Output("fold", as_json=True) as out:
        out.result({"ratio": math.nan, "worst": [math.inf, 1.5], "name": "σ"}, [_table("conv1")])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "schema": "bnfold.fold/1",
        "ratio": None,
        "worst": [None, 1.5],
        "name": "σ",
    }


def test_piped_tables_keep_long_names_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe a name longer than any terminal stays on one line, without escape codes, brackets untouched."""
    name = "/".join(f"stage{index}.block.conv" for index in range(20))
    with Output("fold") as out:
        out.result({}, [_table(name)])
    text = capsys.readouterr().out
    assert name in text
    assert "[1]" in text
    assert "\x1b" not in text


def test_columns_bounds_the_width(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``COLUMNS`` is obeyed in a pipe too, and a name that does not fit is folded rather than cut."""
    monkeypatch.setenv("COLUMNS", "60")
    with Output("fold") as out:
        table = Table("name", "value")
        table.columns[0].overflow = "fold"
        table.add_row("x" * 150, "7")
        out.result({}, [table])
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 60
    assert text.count("x") == 150


def test_foreign_prints_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """What a model's own file or a library prints does not mix into the result."""
    with Output("train", as_json=True) as out:
        print("loading weights")  # noqa: T201  (the planted print)
        out.result({"epochs": 3}, [])
    streams = capsys.readouterr()
    assert json.loads(streams.out)["epochs"] == 3
    assert streams.err == "loading weights\n"


def test_streams_come_back_after_an_error() -> None:
    """A command that raises leaves stdout as it found it."""
    before = sys.stdout
    with pytest.raises(ValueError, match="planted"), Output("train"):
        raise ValueError("planted")
    assert sys.stdout is before


def test_quiet_drops_notes(capsys: pytest.CaptureFixture[str]) -> None:
    """A note is for stderr, and ``--quiet`` is for those who do not want it."""
    with Output("fold") as loud:
        loud.note("wrote folded.onnx")
    with Output("fold", quiet=True) as quiet:
        quiet.note("wrote folded.onnx")
    assert capsys.readouterr() == ("", "wrote folded.onnx\n")


def test_no_bars_where_nobody_looks() -> None:
    """Without a terminal on stderr loops run bare: no control characters in a log."""
    assert Output("train").progress is silent


def test_a_reader_that_left_is_no_error() -> None:
    """Writing into a closed pipe returns, and later flushes have somewhere to go."""
    reading, writing = os.pipe()
    os.close(reading)
    with io.TextIOWrapper(os.fdopen(writing, "wb", buffering=0), write_through=True) as stream:
        write(stream, "verdict\n")
        write(stream, "more\n")


def test_warnings_of_bnfold_are_notes(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning of bnfold's is one line on stderr; those of other distributions are not for the command's user."""
    with Output("export"):
        warnings.warn_explicit("kept as it was", UserWarning, "optimize.py", 7, module="bnfold.export.optimize")
        warnings.warn_explicit("will move", FutureWarning, "other.py", 7, module="other")
    assert capsys.readouterr().err == "warning: kept as it was\n"
