"""A verification report as JUnit XML, the form in which CI systems show tests.

One test case for every output and rung, one for the attestation, one for whether the comparison can show anything, and
one for the verdict, which carries every finding: the suite is green if and only if the verdict is equivalent.

    failure   a difference was found (exit code 1)
    error     it could not be judged: not attested, or inconclusive (exit codes 3 and 4)
    skipped   a rung that was not evaluated here, as the exact fold is not for a bundle, or only beside the verdict

A ``skipped`` case never stands for something that should have been judged, since CI systems count it as green.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document

_OUTCOMES = {"not-equivalent": "failure", "not-attested": "error", "inconclusive": "error"}

_OPTIONAL = ("algebra",)
"""Rungs that a comparison may lack: a fold that others made cannot be carried out in exact arithmetic."""


def junit(document: Document) -> str:
    """Return the report as the text of an XML file, of one suite named after the provider."""
    suite = ET.Element("testsuite", name=f"bnfold verify on {document['provider']}")
    suite.append(_properties(document))
    suite.extend(_cases(document))
    counts = {"tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error"}
    totals = {name: str(len(suite.findall(path))) for name, path in counts.items()}
    totals["skipped"] = str(len(suite.findall("testcase/skipped")))
    suite.attrib.update(totals)
    suites = ET.Element("testsuites", totals)
    suites.append(suite)
    for element in suites.iter():
        element.attrib = {name: words.printable(value) for name, value in element.attrib.items()}
        element.text = element.text and words.printable(element.text)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _properties(document: Document) -> ET.Element:
    properties = ET.Element("properties")
    figures = {"verdict": document["verdict"], "exit_code": document["exit_code"], "k": document["criterion"]["k"]}
    hashes = {f"sha256 of {role}": file.get("sha256", "") for role, file in document["files"].items()}
    for name, value in {**figures, **hashes, **document["environment"]}.items():
        if value is None:
            continue
        ET.SubElement(properties, "property", name=str(name), value=str(value))
    return properties


def _cases(document: Document) -> Iterator[ET.Element]:
    for output in document["outputs"]:
        yield from _rungs(output)
    told = {kind: [each["words"] for each in document["findings"] if each["verdict"] == kind] for kind in _OUTCOMES}
    nothing = [] if document["compared_elements"] else ["nothing was compared"]
    yield _case("attestation", f"ran on {document['provider']}", "not-attested", told["not-attested"])
    shows = "the comparison can show a difference"
    yield _case("vacuity", shows, "inconclusive", told["inconclusive"] or nothing)
    yield _case(
        "verdict", "equivalent", document["verdict"], [each for kind in told.values() for each in kind] or nothing
    )


def _rungs(output: Document) -> Iterator[ET.Element]:
    """Yield a case for each rung of an output, also for those that this comparison had not."""
    evaluated: dict[str, Any] = {rung["name"]: rung for rung in output["ladder"]}
    for name in dict.fromkeys([*_OPTIONAL, *evaluated]):
        case = ET.Element("testcase", classname=f"bnfold.verify.{output['name']}", name=words.rung(name))
        _add_outcome(case, evaluated.get(name))
        yield case


def _add_outcome(case: ET.Element, rung: Document | None) -> None:
    if rung is None:
        ET.SubElement(case, "skipped", message="not evaluated: this comparison has no such rung")
        return
    if not words.judged(rung):
        ET.SubElement(case, "skipped", message="measured beside the verdict, which does not depend on it")
    elif not rung["passed"]:
        message = f"error / limit = {words.ratio(rung['error_over_limit'])}"
        ET.SubElement(case, "failure", message=message, type="not-equivalent").text = _figures(rung)
    ET.SubElement(case, "system-out").text = _figures(rung)


def _figures(rung: Document) -> str:
    rows = [
        f"{norm}: error {words.figure(rung['error'][norm])}, limit {words.figure(rung['limit'][norm])}, "
        f"baseline {words.figure(rung['baseline'][norm])}, floor {words.figure(rung['floor'][norm])}"
        for norm in ("rms", "largest")
    ]
    return "\n".join([words.CRITERION, *rows])


def _case(subject: str, name: str, kind: str, told: Sequence[str]) -> ET.Element:
    """Return a case that speaks of the whole comparison: it passed unless there is something to tell."""
    case = ET.Element("testcase", classname=f"bnfold.{subject}", name=name)
    if told:
        ET.SubElement(case, _OUTCOMES[kind], message=told[0], type=kind).text = "\n".join(told)
    return case
