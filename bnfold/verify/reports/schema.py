"""The published JSON Schemas of reports, and a check of documents against them that needs no further distribution.

`violations` knows the keywords that the schemas use, and no others (``KEYWORDS``); a test holds it to a complete
implementation.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

Schema = Mapping[str, Any]

ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "title", "description"})
"""Keywords that forbid nothing."""


class Kind(StrEnum):
    """The reports that have a schema, each by the value that their key ``schema`` holds."""

    VERIFICATION = "bnfold.verification/1"
    FOLD = "bnfold.fold/1"


@cache
def schema(kind: Kind) -> Schema:
    """Return the JSON Schema (draft 2020-12) of a report; its ``$id`` ends in the version."""
    name = kind.removeprefix("bnfold.").replace("/", "-")
    return json.loads((files("bnfold.verify.reports") / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


def violations(document: object, kind: Kind) -> Iterator[str]:
    """Yield where ``document`` departs from the schema of ``kind``, each as a path and what was expected there."""
    root = schema(kind)
    yield from _check(document, root, root, "report")


def _check(value: object, rules: Schema, root: Schema, where: str) -> Iterator[str]:
    for keyword, rule in rules.items():
        if keyword not in ANNOTATIONS:
            yield from KEYWORDS[keyword](value, rule, root, where)


def _ref(value: object, rule: str, root: Schema, where: str) -> Iterator[str]:
    yield from _check(value, root["$defs"][rule.removeprefix("#/$defs/")], root, where)


def _type(value: object, rule: str | Sequence[str], _: Schema, where: str) -> Iterator[str]:
    names = [rule] if isinstance(rule, str) else rule
    if not any(_is(value, name) for name in names):
        yield f"{where}: expected {' or '.join(names)}, found {_shown(value)}"


def _const(value: object, rule: object, _: Schema, where: str) -> Iterator[str]:
    if not _equal(value, rule):
        yield f"{where}: expected {rule!r}, found {_shown(value)}"


def _enum(value: object, rule: Sequence[object], _: Schema, where: str) -> Iterator[str]:
    if not any(_equal(value, choice) for choice in rule):
        yield f"{where}: expected one of {', '.join(map(str, rule))}, found {_shown(value)}"


def _minimum(value: object, rule: float, _: Schema, where: str) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool) and value < rule:
        yield f"{where}: expected at least {rule}, found {value}"


def _required(value: object, rule: Sequence[str], _: Schema, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{where}: {name} is missing" for name in rule if name not in value)


def _properties(value: object, rule: Mapping[str, Schema], root: Schema, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, rules in rule.items():
            if name in value:
                yield from _check(value[name], rules, root, f"{where}.{name}")


def _additional(value: object, rule: Schema, root: Schema, where: str) -> Iterator[str]:
    """Check every entry: the schemas have ``additionalProperties`` only where they have no ``properties``."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _check(item, rule, root, f"{where}.{name}")


def _items(value: object, rule: Schema, root: Schema, where: str) -> Iterator[str]:
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _check(item, rule, root, f"{where}[{position}]")


def _any_of(value: object, rule: Sequence[Schema], root: Schema, where: str) -> Iterator[str]:
    found = [list(_check(value, rules, root, where)) for rules in rule]
    if all(found):
        yield found[-1][0]


KEYWORDS: Mapping[str, Callable[[object, Any, Schema, str], Iterator[str]]] = {
    "$ref": _ref,
    "type": _type,
    "const": _const,
    "enum": _enum,
    "minimum": _minimum,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
}

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _is(value: object, name: str) -> bool:
    if name == "integer":
        return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value % 1 == 0))
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _equal(value: object, other: object) -> bool:
    """Say whether two values are one in JSON, where true is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
