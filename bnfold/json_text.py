"""JSON that any parser reads, out and in: no numbers that JSON does not know, infinities and NaN, no key twice."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn


def json_text(document: Mapping[str, object]) -> str:
    """Return ``document`` as JSON, keys in its own order.

    Raises:
        TypeError: it holds something that JSON has no form for.
    """
    return json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def canonical_json(document: Mapping[str, object]) -> str:
    """Return ``document`` as JSON, keys sorted: equal data give equal texts.

    What JSON has no form for becomes what `str` makes of it.
    """
    data = finite(document)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def strict_json(text: str | bytes) -> Any:
    """Return the data that a text of JSON stands for.

    Of a key that an object has twice parsers take the one or the other: what one program has checked, the next one
    may not read.

    Raises:
        ValueError: it is not JSON, or not Unicode, nests without end, holds a number that JSON does not know or is too
            long to be one, or a key twice. The message is a phrase.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_number)
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in found if names.count(name) > 1)!r} stands there twice")
    return found


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number that can be read")


def finite(value: Any) -> Any:
    """Return ``value`` in dicts and lists, numbers that are not finite replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [finite(item) for item in value]
    return value
