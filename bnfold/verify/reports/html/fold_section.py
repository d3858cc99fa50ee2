"""The section of the normalizations: what became of each, why, and the graph around it before and after."""

from collections.abc import Iterator, Sequence

from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html.graph import graph
from bnfold.verify.reports.html.markup import Markup, element, joined
from bnfold.verify.reports.html.parts import chip, key, prose, section, soft

_WHO = {
    "fold-report": "As the report of the fold says it.",
    "graphs": "From the two graphs, compared by the names of their nodes; the fold's own report would tell reasons.",
}


def fold_section(document: Document) -> Markup | None:
    """Return the table of normalizations; None where the report holds nothing of the fold."""
    folds = document.get("folds")
    if not folds or not folds["batch_norms"]:
        return None
    records = folds["batch_norms"]
    removed = sum(record["removed"] for record in records)
    drawn = any(record["before"] for record in records)
    return section(
        "Batch normalizations",
        element("p", f"{removed} of {len(records)} are folded, {len(records) - removed} kept."),
        soft(_WHO[folds["basis"]]),
        None if drawn else soft("The original graph is not at hand: what reads the weights now is drawn alone."),
        key(
            (_box("batch-norm"), "normalization"),
            (_box("changed"), "its constants, or the node itself, changed"),
            (_box("new"), "new"),
        ),
        prose(("normalization", "outcome", "why"), _rows(records)),
        name="folds",
    )


def _box(role: str) -> Markup:
    return element("g", element("rect", x=1, y=2, width=15, height=10, rx=2), class_=role)


def _rows(records: Sequence[Document]) -> Iterator[tuple[object, ...]]:
    first: dict[str, str] = {}
    for record in records:
        outcome = chip("folded", "good") if record["removed"] else chip("kept", "doubt")
        like = first.setdefault(_shape(record), record["name"])
        yield element("code", record["name"]), outcome, joined(*_why(record, None if like == record["name"] else like))


def _shape(record: Document) -> str:
    """Return what the pictures of a record look like, names aside."""
    pictures = [record[when] or {"nodes": (), "edges": ()} for when in ("before", "after")]
    return str([([(n["op_type"], n["role"]) for n in each["nodes"]], each["edges"]) for each in pictures])


def _why(record: Document, like: str | None) -> Iterator[object]:
    """Yield the reason and the pictures; on paper those that look ``like`` earlier ones are not drawn again."""
    yield record["detail"]
    if record["witness"] and record["witness"] not in record["detail"]:
        yield f" ({record['witness']})"
    if record["reason"] and not record["removed"]:
        yield joined(" ", element("code", record["reason"]))
    pictures = [
        graph(record[when], caption)
        for when, caption in (("before", "Before"), ("after", "After"))
        if record[when] and record[when]["nodes"]
    ]
    if pictures:
        summary, drawn = element("summary", "The graph around it"), element("div", *pictures, class_="graphs")
        yield element("details", summary, drawn, class_=like and "again")
    if pictures and like:
        yield element("span", "; its graph is like that of ", element("code", like), class_="on-paper")
