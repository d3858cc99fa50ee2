import re
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import numpy as np
import pytest

from bnfold.folding import Objective, plan
from bnfold.folding.rules import RULES, pooling
from bnfold.population import Estimator
from docs.hooks import api, diagrams, estimators, listing, operators, options, readme
from tests.documents import blocks
from tests.folding.builder import EPSILON, Builder
from tests.folding.checker import fold_checked

DOCS = Path(__file__).parents[2] / "docs"
DIAGRAMS = ("chain.svg", "gauge.svg", "ladder.svg")


def test_every_operator_is_in_the_table() -> None:
    """One link an operator, and every row says something."""
    table = operators.table("what it carries")
    assert set(re.findall(r"onnx__(\w+)\.html", table)) == set(RULES)
    assert not re.search(r"\| *\|$", table, flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(options.ROOT.commands))
def test_every_option_is_in_its_table(name: str) -> None:
    """Those of the command on its page, those that all have on one page of their own, and no row without help."""
    page, common = options.tables(name), options.tables("common")
    for parameter in options.ROOT.commands[name].params:
        for spelling in parameter.opts if parameter.opts[0].startswith("-") else ():
            if spelling not in {"--help", "-h"}:
                assert (f"`{spelling}`" in page) != (f"`{spelling}`" in common), spelling
    assert not re.search(r"^\| `[^|]*\| *\|", page, flags=re.MULTILINE)
    assert f"$ bnfold {name}" in page


def test_every_estimator_is_defined() -> None:
    """By the first sentences of its paragraph, without what they were marked up with."""
    table = estimators.table("definition")
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == [estimator.value for estimator in Estimator]
    assert "Source" not in table


def test_names_are_documented_where_they_are_defined() -> None:
    """Also where a module of the package has the name of the function; what a package below has is linked."""
    assert "::: bnfold.folding.fold.fold" in api.reference("bnfold.folding")
    top = api.reference("bnfold")
    assert "- [`bnfold.load`][bnfold.graph.load.load], from `bnfold.graph`" in top
    assert "::: bnfold.errors.InputError" in top


def test_readme_is_taken_by_its_headings() -> None:
    """A section ends before the next one; a heading that is gone is an error."""
    assert readme.section("Install").count("pip install") == 1
    assert readme.section("top").startswith("Networks are trained")
    with pytest.raises(KeyError, match="No such heading"):
        readme.section("No such heading")


def test_listings_are_the_code() -> None:
    """As it stands in its file."""
    assert "def homogeneous(site: Site) -> None:" in listing.source("bnfold.folding.rules.activation:homogeneous")


@pytest.mark.parametrize("name", DIAGRAMS)
def test_diagrams_take_the_pages_colours(name: str) -> None:
    """Inlined, a diagram has no colour of its own, and its marker's name is in no other diagram."""
    page = diagrams.inlined(f"![What it shows](../diagrams/{name})")
    svg = page.partition("\n")[2].rpartition("\n")[0]
    root = ElementTree.fromstring(svg)  # noqa: S314  (our own file)
    assert 'aria-label="What it shows"' in page
    assert "<style" not in svg
    colours = {element.get(key) for element in root.iter() for key in ("fill", "stroke")}
    assert colours <= {None, "none", "currentColor"}
    ids = {element.get("id") for element in root.iter()} - {None}
    others = "".join((diagrams.FOLDER / other).read_text() for other in DIAGRAMS if other != name)
    assert ids
    assert not any(f'id="{each}"' in others for each in ids)


def test_a_diagram_as_a_file_follows_the_system() -> None:
    """Where it is shown as an image, its own style has both schemes."""
    assert all("prefers-color-scheme: dark" in (diagrams.FOLDER / name).read_text() for name in DIAGRAMS)


def test_the_operator_that_the_page_adds_would_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the page's own line in the table, a scale passes GlobalLpPool: BN before and Mul behind it both go."""
    entry, *_ = (block for block in blocks((DOCS / "adding-an-operator.md").read_text(), "python"))
    name, _, rule = entry.strip().rstrip(",").partition(": ")
    assert (name, rule) == ('"GlobalLpPool"', "pooling.lp_pool")
    assert "GlobalLpPool" not in RULES, "choose another example for docs/adding-an-operator.md"
    monkeypatch.setattr(plan, "RULES", MappingProxyType({**RULES, "GlobalLpPool": pooling.lp_pool}))
    b, zero = Builder(), np.zeros(4)
    x = b.batch_norm(
        b.input(2, 4, 4, 4), 4, gamma=np.full(4, 2.0), beta=zero, mean=zero, variance=np.full(4, 1.0 - EPSILON)
    )
    model = b.model(b("Mul", b("GlobalLpPool", x), b.stored(0.5)))
    assert [node.op_type for node in fold_checked(model, objective=Objective.NO_BN).model.graph] == ["GlobalLpPool"]
