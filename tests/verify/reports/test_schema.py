from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema
import onnx_ir as ir
import pytest

from bnfold.folding import fold
from bnfold.json_text import finite
from bnfold.verify.reports import Kind, rejudge, schema, violations
from bnfold.verify.reports.schema import ANNOTATIONS, KEYWORDS, Schema
from tests.verify.graphs import network, random_layers
from tests.verify.reports.documents import Document


def complete(document: Document, kind: Kind) -> list[str]:
    """Return what the reference implementation finds."""
    return [error.message for error in jsonschema.Draft202012Validator(schema(kind)).iter_errors(document)]


@pytest.fixture
def reports(good: Document, bad: Document, unattested: Document, empty: Document) -> list[Document]:
    """Reports of every verdict, one of them judged again."""
    return [good, bad, unattested, empty, rejudge(bad, k=100.0)]


@pytest.mark.parametrize("kind", Kind)
def test_schemas_are_schemas_and_carry_their_version(kind: Kind) -> None:
    """Each is valid JSON Schema, and its id ends in the version that its documents name."""
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    name, version = kind.removeprefix("bnfold.").split("/")
    assert schema(kind)["$id"] == f"urn:bnfold:schema:{name}:{version}"
    assert schema(kind)["properties"]["schema"] == {"const": kind.value}


@pytest.fixture
def folded() -> Document:
    """The report of a fold."""
    return finite(fold(ir.from_proto(network(random_layers()))).to_dict())


def test_every_report_is_valid(reports: list[Document], folded: Document) -> None:
    """Whatever the verdict, a report is what its schema promises; so is the fold's."""
    for document in reports:
        assert complete(document, Kind.VERIFICATION) == []
        assert list(violations(document, Kind.VERIFICATION)) == []
    assert complete(folded, Kind.FOLD) == list(violations(folded, Kind.FOLD)) == []


def test_every_key_of_a_report_is_described(reports: list[Document], folded: Document) -> None:
    """A key that is written but not in the schema would be undocumented."""
    described = set(_described(schema(Kind.VERIFICATION)))
    for document in reports:
        assert set(_keys(document)) <= described
    assert set(_keys(folded)) <= set(_described(schema(Kind.FOLD)))


@pytest.mark.parametrize("kind", Kind)
def test_the_small_validator_knows_every_keyword(kind: Kind) -> None:
    """A schema with a keyword that nobody checks would promise more than is held."""
    assert set(_keywords(schema(kind))) <= KEYWORDS.keys() | ANNOTATIONS


def test_both_validators_find_the_same_faults(bad: Document) -> None:
    """For a hundred planted faults, anywhere in a report, the small validator rejects what the complete one does."""
    bad = {**bad, "localization": {**bad["localization"], "nodes": bad["localization"]["nodes"][:2]}}
    differing = 0
    for path in list(_paths(bad))[:: max(1, len(list(_paths(bad))) // 25)]:
        for fault in (None, -1, "x", []):
            broken = deepcopy(bad)
            _set(broken, path, fault)
            expected = complete(broken, Kind.VERIFICATION)
            assert bool(list(violations(broken, Kind.VERIFICATION))) == bool(expected), (path, fault)
            differing += bool(expected)
    assert differing > 50


def test_violations_name_the_place(bad: Document) -> None:
    """What is told leads to the entry that is wrong."""
    broken = deepcopy(bad)
    del broken["outputs"][0]["ladder"][0]["error"]["rms"]
    broken["verdict"] = True
    assert list(violations(broken, Kind.VERIFICATION)) == [
        "report.verdict: expected one of equivalent, not-equivalent, not-attested, inconclusive, found True",
        "report.outputs[0].ladder[0].error: rms is missing",
    ]


def _keys(value: Any) -> Iterator[str]:
    """Yield all keys but those of maps by name, whose keys are data."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            if key not in {
                "files",
                "environment",
                "options",
                "executed",
                "kernels",
                "figures_explained",
                "zeros",
                "inputs",
            }:
                yield from _keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _keys(item)


def _described(rules: Any) -> Iterator[str]:
    if isinstance(rules, dict):
        yield from rules.get("properties", {})
        for item in rules.values():
            yield from _described(item)
    elif isinstance(rules, list):
        for item in rules:
            yield from _described(item)


def _keywords(rules: Schema) -> Iterator[str]:
    yield from rules
    for name in ("properties", "$defs"):
        for item in rules.get(name, {}).values():
            yield from _keywords(item)
    for name in {"items", "additionalProperties"} & rules.keys():
        yield from _keywords(rules[name])
    for item in rules.get("anyOf", ()):
        yield from _keywords(item)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def _set(document: Any, path: tuple[str | int, ...], value: object) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value
