"""A comparison of two reports as Markdown, for a step summary or a comment on the upgrade."""

from collections.abc import Iterator, Sequence

from bnfold.verify.reports import words
from bnfold.verify.reports.difference import Change, Difference, RungChange
from bnfold.verify.reports.markdown import MARKS, table, text


def markdown_difference(found: Difference) -> str:
    """Return what got worse, the errors side by side, and what changed."""
    return "\n\n".join(_sections(found)) + "\n"


def _sections(found: Difference) -> Iterator[str]:
    mark = MARKS["not-equivalent" if found.worse else "equivalent"]
    old, new = (verdict.replace("-", " ") for verdict in found.verdict)
    yield f"## {mark} bnfold diff: {'worse' if found.worse else 'not worse'} (verdict {old} → {new})"
    if found.worse:
        yield "\n".join(f"- {text(each)}" for each in found.worse)
    if found.caveats:
        yield "Not quite comparable:\n\n" + "\n".join(f"- {text(each)}" for each in found.caveats)
    if found.rungs:
        yield table(("output", "rung", "old error (RMS)", "new", "growth"), map(_rung, found.rungs), figures=3)
        yield f"Growth: new error over old one, or over a rounding of every weight; noise reaches {found.noise:.2g}."
    changes = [*found.versions, *found.placement]
    yield table(("changed", "old", "new"), map(_change, changes), figures=0) if changes else "Nothing else changed."


def _rung(rung: RungChange) -> Sequence[str]:
    growth = words.ratio(rung.growth)
    errors = (words.figure(rung.old["rms"]), words.figure(rung.new["rms"]))
    return (text(rung.output), text(words.rung(rung.rung)), *errors, f"**{growth}**" if rung.worse else growth)


def _change(change: Change) -> Sequence[str]:
    return (text(change.what), *(text("–" if each is None else each) for each in (change.old, change.new)))
