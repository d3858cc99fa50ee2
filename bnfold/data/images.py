"""Encoded images to arrays: of one size, in grey or in colour, each failure with the file's name."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnfold.data.dataset import Array
from bnfold.errors import InputError

_GREY = frozenset({"1", "L", "LA"})
_COLOUR = frozenset({"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"})


def decode_images(encoded: Sequence[Mapping[str, Any]], where: str) -> Array:
    """Return images ``(N, channels, height, width)``, float32 in [0, 1]: one channel if all are grey, else RGB.

    Args:
        encoded: ``path`` and ``bytes`` of each, as the datasets library keeps an image that it has not decoded.
        where: name of the data, for messages.

    Raises:
        InputError: an image is missing, broken, of another size than the first, or not of 8 bits a value.
    """
    opened = [_open(item, f"{where}: {_name(item, place)}") for place, item in enumerate(encoded)]
    mode = "L" if all(image.mode in _GREY for image in opened) else "RGB"
    first = opened[0].size
    for place, image in enumerate(opened):
        if image.size != first:
            width, height = image.size
            raise InputError(
                f"{where}: {_name(encoded[place], place)} has {width}×{height} pixels, {_name(encoded[0], 0)} has "
                f"{first[0]}×{first[1]}; give all images one size."
            )
    pixels = np.stack([np.asarray(image.convert(mode)) for image in opened])
    planes = pixels[:, None] if mode == "L" else np.moveaxis(pixels, -1, 1)
    return np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255)


def _open(item: Mapping[str, Any], name: str) -> Any:
    from PIL import Image

    content, path = item.get("bytes"), item.get("path")
    if content is None and path is None:
        raise InputError(f"{name}: no image.")
    try:
        # Given a path, Pillow leaves the file of a broken image open.
        image = Image.open(io.BytesIO(Path(str(path)).read_bytes() if content is None else content))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's words name its buffers; a broken PNG is a SyntaxError to it.
        raise InputError(f"{name}: not a readable image; repair the file or take it out.") from error
    if image.mode not in _GREY | _COLOUR:
        raise InputError(f"{name}: pixels of kind {image.mode!r}; expected 8 bits a value, grey or colour.")
    return image


def _name(item: Mapping[str, Any], place: int) -> str:
    path = item.get("path")
    return f"row {place}" if path is None else str(path) if Path(str(path)).is_absolute() else f"row {place} ({path})"
