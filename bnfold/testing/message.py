"""What a failed assertion tells: which model, what is wrong, by how much, on what, and how to look closer."""

from collections.abc import Iterator, Mapping
from typing import Any


def failure_message(document: Mapping[str, Any], names: Mapping[str, str], command: str | None) -> str:
    """Return the message for a report that is not ``equivalent``.

    Args:
        document: the report in its JSON form.
        names: of the ``original`` and of the ``candidate``.
        command: that shows the same on the command line, if there is one.
    """
    return "\n".join(_lines(document, names, command))


def _lines(document: Mapping[str, Any], names: Mapping[str, str], command: str | None) -> Iterator[str]:
    from bnfold.verify.reports import words

    yield _headline(document, names)
    for finding in document["findings"]:
        yield f"  - {words.printable(finding['words'])}"
    if document["ladder"]:
        yield f"  {'rung':<24}{'error (RMS)':>12}{'limit':>10}   passed"
    for rung in document["ladder"]:
        error, limit = (words.figure(rung[part]["rms"]) for part in ("error", "limit"))
        yield f"  {words.rung(rung['name']):<24}{error:>12}{limit:>10}   {words.passed(rung)}"
    for title, sentence in words.remarks(document):
        yield f"  {title}: {words.printable(sentence)}"
    yield f"  compared: {words.basis(document)}"
    yield f"  with: {words.versions(document)}"
    if command is not None:
        yield f"  look closer: {command}"


def _headline(document: Mapping[str, Any], names: Mapping[str, str]) -> str:
    ours, theirs = names["original"], names["candidate"]
    provider = document["provider"]
    return {
        "not-equivalent": f"{theirs} does not compute what {ours} does, on {provider}",
        "not-attested": f"{theirs} was not shown to run on {provider}, so that nothing is known about it there",
        "inconclusive": f"these inputs cannot show whether {theirs} computes what {ours} does",
    }[document["verdict"]]
