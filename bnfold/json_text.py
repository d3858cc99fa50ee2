"""Data as JSON that any parser reads: numbers that JSON does not know, infinities and NaN, become null."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


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


def finite(value: Any) -> Any:
    """Return ``value`` in dicts and lists, numbers that are not finite replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [finite(item) for item in value]
    return value
