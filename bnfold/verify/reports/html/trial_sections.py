"""What was tried besides the comparison of outputs, as far as the report holds it."""

from collections.abc import Iterator

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html.charts import depth
from bnfold.verify.reports.html.markup import Markup, element
from bnfold.verify.reports.html.parts import chip, figures, key, prose, section, soft


def trial_sections(document: Document) -> Iterator[Markup | None]:
    """Yield localization, self-test, stability and edge cases."""
    yield _localization(document.get("localization"))
    yield _mutation(document.get("mutation"))
    yield _stability(document.get("stability"))
    yield _edge_cases(document.get("edge_cases"))


def _localization(found: Document | None) -> Markup | None:
    if not found or not found["nodes"]:
        return None
    fault = found["first_fault"]
    plot = depth(found["nodes"], fault and fault["name"])
    unmatched = found.get("unmatched") or ()
    return section(
        "Error along the depth",
        element("p", found["words"]),
        soft(
            f"{words.number_of('values', found['matched'])} inside the network, in order of execution from left to "
            f"right, each compared with {found['reference']}; relative to the value's size, logarithmic."
        ),
        element("div", plot, class_="plot") if plot is not None else None,
        key(
            (element("path", d="M0 7 H16", class_="introduced"), "error that a node introduces"),
            (element("path", d="M0 7 H16", class_="total"), "error that has arrived there"),
            (element("path", d="M0 7 H16", class_="limit"), "limit of what a node introduces"),
        ),
        soft(f"No counterpart to compare with: {words.number_of('values', len(unmatched))} of the candidate.")
        if unmatched
        else None,
        name="depth",
    )


def _mutation(test: Document | None) -> Markup | None:
    if not test:
        return None
    rows = [
        (each["kind"], element("code", each["node"]), _excess(each), _outcome(each, "killed", "caught", "missed"))
        for each in test["mutants"]
    ]
    return section(
        "Self-test",
        soft(
            "Faults planted into copies of this very model, run on these inputs: what the comparison would have "
            f"caught. {test['killed']} of {test['total']} were."
        ),
        prose(("planted fault", "where", "error / limit", "outcome"), rows),
        name="self-test",
    )


def _stability(outputs: list[Document] | None) -> Markup | None:
    if not outputs:
        return None
    rows = [
        (each["name"], *(words.figure(each[part]["rms"]) for part in ("repeat", "order", "limit"))) for each in outputs
    ]
    return section(
        "Stability",
        soft("How far two equal runs differ, and runs of the same samples in another order (RMS)."),
        figures(("output", "again", "other order", "limit"), rows),
        name="stability",
    )


def _edge_cases(cases: list[Document] | None) -> Markup | None:
    if not cases:
        return None
    rows = [
        (each["name"], each["words"], _excess(each), _outcome(each, "passed", "passed", "not passed")) for each in cases
    ]
    headers = ("inputs", "what they are", "error / limit", "outcome")
    return section("Edge cases", prose(headers, rows), name="edge-cases")


def _excess(trial: Document) -> Markup:
    excess = trial["error_over_limit"]
    return element("span", "–" if excess is None else words.ratio(excess), class_="figure")


def _outcome(trial: Document, key: str, yes: str, no: str) -> Markup:
    return chip(yes, "good") if trial[key] else chip(no, "bad")
