import html
import re
from copy import deepcopy

import pytest
from markdown_it import MarkdownIt

from bnfold.verify.reports.markdown import SHOWN, markdown, text
from tests.verify.reports.documents import Document


def cells(line: str) -> list[str]:
    """Return the cells of a row; an escaped bar ends none."""
    return re.split(r"(?<!\\)\|", line)[1:-1]


def tables(document: str) -> list[list[list[str]]]:
    """Return the tables of a Markdown text, each by rows of cells."""
    blocks = (block.splitlines() for block in document.split("\n\n"))
    return [[cells(line) for line in block] for block in blocks if block and block[0].startswith("|")]


@pytest.mark.parametrize("name", ["good", "bad", "unattested", "empty"])
def test_every_row_has_the_columns_of_its_table(name: str, request: pytest.FixtureRequest) -> None:
    """A table with a ragged row is shown as text."""
    found = tables(markdown(request.getfixturevalue(name)))
    assert found
    for table in found:
        assert {len(row) for row in table} == {len(table[0])}


def test_the_verdict_comes_first_and_findings_follow(bad: Document, good: Document) -> None:
    """What a person looks for is the heading; what went wrong is next."""
    assert markdown(good).startswith("## ✅ bnfold verify: equivalent on cpu\n")
    lines = markdown(bad).splitlines()
    assert lines[0] == "## ❌ bnfold verify: not equivalent on cpu"
    assert "the candidate's graph or weights are wrong" in lines[6]
    assert "| as stored, in float64 | **no** |" in markdown(bad)


def test_names_are_never_markup(good: Document) -> None:
    """A hostile name neither opens a tag, nor a link, nor a column, nor a line."""
    hostile = "a|b\n# c <img src=x onerror=y> [d](http://e) `f` *g* _h_ $i$"
    assert text(hostile) == (r"a\|b \# c &lt;img src=x onerror=y&gt; \[d\](http://e) \`f\` \*g\* \_h\_ &#36;i&#36;")
    document = deepcopy(good)
    document["outputs"][0]["name"] = hostile
    shown = markdown(document)
    assert "<img" not in shown
    assert all(len({len(row) for row in table}) == 1 for table in tables(shown))


def test_many_outputs_are_cut_and_counted(good: Document) -> None:
    """A step summary has a limit, and says what it leaves out."""
    document = {**good, "outputs": good["outputs"] * (SHOWN + 7)}
    assert "… and 7 more rows, in the JSON report." in markdown(document)
    assert len(markdown(document)) < 20_000


def test_a_renderer_shows_names_as_they_are(good: Document) -> None:
    """Through a CommonMark renderer with tables: no tag, link or emphasis comes out of a name, and all its text."""
    hostile = "a|b # c <img src=x onerror=y> [d](http://e) `f` *g* _h_ ~~i~~ &amp; \\ **j**"
    document = deepcopy(good)
    document["outputs"][0]["name"] = hostile
    document["files"]["candidate"]["path"] = hostile
    page = MarkdownIt("commonmark").enable("table").render(markdown(document))
    assert html.unescape(page).count(hostile) == 2
    for tag in ("<img", "<a ", "<code", "<em", "<s>"):
        assert tag not in page
    assert page.count("<table>") == 3
