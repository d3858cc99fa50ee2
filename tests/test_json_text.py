"""Tests of ``bnfold.json_text``: strict JSON, which every parser reads."""

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from bnfold.json_text import canonical_json, finite, json_text, strict_json


@pytest.mark.parametrize("text", [json_text, canonical_json])
def test_numbers_that_json_does_not_know_become_null(text: Callable[[Mapping[str, object]], str]) -> None:
    """Other parsers would refuse Infinity and NaN."""
    written = text({"a": [math.inf, -math.inf, math.nan, 1.5], "σ": 2})
    assert json.loads(written, parse_constant=pytest.fail) == {"a": [None, None, None, 1.5], "σ": 2}
    assert "σ" in written


def test_numbers_at_any_depth_become_null() -> None:
    """In whatever kind of mapping or sequence; text is no sequence of letters."""
    data = MappingProxyType({"a": ({"b": (math.nan, "text", b"bytes")},), 3: range(2)})
    assert finite(data) == {"a": [{"b": [None, "text", b"bytes"]}], "3": [0, 1]}


def test_json_refuses_what_it_cannot_hold() -> None:
    """A value that JSON has no form for is a mistake of bnfold's own, not silently a string."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        json_text({"path": object()})


def test_the_canonical_text_does_not_depend_on_the_order_of_keys() -> None:
    """Equal data, equal bytes; the other text keeps the order."""
    assert canonical_json({"b": 1, "a": (2, 3)}) == canonical_json({"a": [2, 3], "b": 1})
    assert list(json.loads(json_text({"b": 1, "a": 2}))) == ["b", "a"]


def test_the_canonical_text_says_in_words_what_json_cannot_hold() -> None:
    """Provenance is in the words of who exported it."""
    assert json.loads(canonical_json({"what": 1j})) == {"what": "1j"}


def test_strict_json_reads_what_json_text_writes() -> None:
    """Text or bytes, of any depth."""
    data = {"a": [None, 1.5, {"σ": "text", "b": True}], "n": 2**70, "tiny": 1e-320}
    assert strict_json(json_text(data)) == strict_json(json_text(data).encode()) == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' stands there twice"),
        ("[NaN]", "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("[1e999]", "1e999 is no number"),
        ("9" * 10000, "Exceeds the limit"),
        ("[" * 100000, "nests too deeply"),
        ("{", "Expecting property name"),
        (b"\xff\xfe{", "codec"),
    ],
)
def test_strict_json_refuses_what_parsers_differ_in(text: str | bytes, words: str) -> None:
    """One phrase says what."""
    with pytest.raises(ValueError, match=words):
        strict_json(text)
