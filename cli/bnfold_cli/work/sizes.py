"""Sizes as people write them."""

import re

from bnfold.errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(option: str, text: str) -> int:
    """Return bytes: a number, and a unit of B, kB, MB, GB (powers of 1000), KiB, MiB or GiB.

    Raises:
        InputError: it is malformed or 0; the message names ``option``.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    unit = None if match is None else _UNITS.get(match[2].upper())
    size = 0 if match is None or unit is None else int(float(match[1]) * unit)
    if size < 1:
        raise InputError(f"{option} {text}: expected a size such as 500MB or 2GiB.")
    return size
