import re
from copy import deepcopy
from html.parser import HTMLParser

import pytest

from bnfold.verify.reports.html import html
from tests.verify.reports.documents import Document, traced

VOID = {"meta", "br"}


class Page(HTMLParser):
    """The elements of a page; every one that opens is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.names.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Hold the end to the start."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    @property
    def ids(self) -> list[str]:
        """The ids of the page, in order."""
        return [value or "" for name, value in self.attributes if name == "id"]


ALL = [
    "verdict",
    "ladder",
    "outputs",
    "depth",
    "self-test",
    "stability",
    "edge-cases",
    "folds",
    "placement",
    "environment",
]


def test_a_full_report_has_every_section(bad: Document) -> None:
    """Verdict on top, then the figures, then what was tried, the fold, and the circumstances."""
    page = Page(html(bad))
    assert page.ids == ALL
    assert page.text.index("Not equivalent") < page.text.index("The ladder")
    assert "the candidate's graph or weights are wrong, before any runtime" in page.text
    assert "/layer3/block31/Conv is at fault" in page.text
    assert "3 of 3 are folded, 0 kept." in page.text


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("plain", ["verdict", "ladder", "outputs", "placement", "environment"]),
        ("empty", ["verdict", "placement", "environment"]),
        ("unattested", ["verdict", "ladder", "outputs", "placement", "environment"]),
    ],
)
def test_what_a_report_does_not_hold_has_no_section(name: str, ids: list[str], request: pytest.FixtureRequest) -> None:
    """No headings over nothing."""
    document: Document = request.getfixturevalue(name)
    page = Page(html(document))
    kept = [each for each in page.ids if each in ids or each not in ALL]
    assert kept == ids
    assert page.text.count(document["verdict"].replace("-", " ").capitalize()) == 1


def test_a_page_loads_and_runs_nothing(bad: Document) -> None:
    """One file: no script, no address, no event handler; the policy in it forbids them as well."""
    page = Page(html(bad))
    assert {"script", "img", "link", "iframe", "object", "use", "a", "form"} & set(page.names) == set()
    assert not any(name.startswith("on") or name in {"src", "href", "xlink:href"} for name, _ in page.attributes)
    assert "default-src 'none'" in html(bad)
    assert not re.search(r"https?:|url\(|@import", html(bad))


def test_hostile_names_are_shown_as_they_are(bad: Document) -> None:
    """Names of nodes, outputs, files and versions that are markup stay text, and controls are replaced."""
    hostile = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x00\u202e${body}"
    document = deepcopy(bad)
    document["outputs"][0]["name"] = hostile
    document["findings"][0]["words"] = hostile
    document["localization"]["nodes"][31]["name"] = hostile
    document["localization"]["first_fault"]["name"] = hostile
    document["mutation"]["mutants"][0]["node"] = hostile
    for record in document["folds"]["batch_norms"]:
        record["name"] = record["detail"] = hostile
        record["before"]["nodes"][0]["name"] = hostile
    document["files"]["candidate"]["path"] = document["environment"]["onnx"] = hostile
    document["placement"]["elsewhere"] = [hostile]
    text = html(document)
    page = Page(text)
    assert "script" not in page.names
    assert "img" not in page.names
    assert page.names.count("style") == 1
    assert "<script>alert(1)</script>" in page.text
    assert "\x00" not in text
    assert "\u202e" not in text


def test_figures_that_are_not_finite_are_words(bad: Document) -> None:
    """null is no number to place on an axis, nor a crash."""
    document = deepcopy(bad)
    nothing = {"rms": None, "largest": None}
    for rung in [*document["ladder"], *document["outputs"][0]["ladder"]]:
        rung |= {"error": nothing, "limit": nothing, "error_over_limit": None, "passed": False}
    for figure in document["outputs"][0]["candidate"].keys() - {"elements", "top1"}:
        document["outputs"][0]["candidate"][figure] = None
    for node in document["localization"]["nodes"]:
        node |= {"introduced": nothing, "total": nothing, "limit": nothing}
    document["outputs"][0]["histogram"] = {"edges": [], "candidate": [], "baseline": [], "zeros": {}}
    page = Page(html(document))
    assert "not finite" in page.text


def test_every_normalization_and_every_fault_is_drawn(bad: Document) -> None:
    """Two graphs a normalization; one dot a node at fault, named once."""
    page = Page(html(bad))
    classes = [value for name, value in page.attributes if name == "class"]
    assert classes.count("graph") == 6
    assert classes.count("fault") == 1
    assert classes.count("fault-name") == 1
    without = {**bad, "localization": {**bad["localization"], "nodes": traced(60), "first_fault": None}}
    assert 'class="fault"' not in html(without)


def test_graphs_that_look_alike_are_printed_once(bad: Document) -> None:
    """On paper details cannot be closed: a network of many normalizations of a kind would fill a page with each."""
    document = deepcopy(bad)
    first, second, third = (deepcopy(document["folds"]["batch_norms"][0]) for _ in range(3))
    second["name"], third["name"] = "second", "third"
    third["before"]["nodes"][0]["op_type"] = "Gemm"
    document["folds"]["batch_norms"] = [first, second, third]
    section = html(document).split('<section id="folds"')[1].split("</section>")[0]
    assert [row.count('class="again"') for row in section.split("<tr>")[2:]] == [0, 1, 0]
    assert f"its graph is like that of <code>{first['name']}</code>" in section.split("<tr>")[3]


def test_the_ladder_tells_passed_from_failed_without_colour(good: Document, bad: Document) -> None:
    """A dot within the limit, a cross beyond it, and words for who sees neither."""
    dot, cross = r'<circle cx="[^"]+" cy="\d+" r="6"', r'<path d="M-6 -6 L6 6'
    assert [len(re.findall(mark, html(good))) for mark in (dot, cross)] == [3, 0]
    assert [len(re.findall(mark, html(bad))) for mark in (dot, cross)] == [1, 2]
    assert re.search(r"float64: [\d.]+ of the limit; as stored, in float64: \d+ × the limit; on the runtime", html(bad))


@pytest.mark.parametrize("edges", [[], [0.0], [0.0, 400.0], [5e307, 6e307], [0.0, 1.0, 2.0, 3.0]])
def test_a_histogram_that_is_none_is_left_out(bad: Document, edges: list[float]) -> None:
    """A report that is judged again may have been written by anyone; so with pictures whose edges lead nowhere."""
    document = deepcopy(bad)
    document["outputs"][0]["histogram"] = {"edges": edges, "candidate": [3, 4], "baseline": [1, 2], "zeros": {}}
    document["folds"]["batch_norms"][0]["before"]["edges"] = [[], [0], [0, 99], [1, 0], [0, 1], [2, 2]]
    assert "How the errors are distributed" not in Page(html(document)).text
