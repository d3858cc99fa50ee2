"""``scattered-…``: the digits at random places of a canvas, for networks that find, outline or cut out objects.

    scattered-classes   labels (N, 32, 32): 0 for the ground, 1 + digit where the digit's ink is
    scattered-boxes     labels (N, 3, 5): a row an object, class 0 to 9, then x₀, y₀, x₁, y₁ in pixels; −1: none
    scattered-masks     labels (N, 3, 5 + 32·32): the same, then the object's ink on the canvas, 0 or 1

All three have the same ``images`` ``(N, 1, 32, 32)``, float32 in [0, 1]: one to three digits, 8 or 16 pixels wide,
whose frames do not overlap. Images of the training split hold digits of the training split only.
"""

import functools
from dataclasses import dataclass

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.digits import digits
from bnfold.data.split import Split

CANVAS = 32
OBJECTS = 3
_INK = 0.25
"""Brightness from which a pixel belongs to the digit."""
_SIZES = (8, 16)
_SAMPLES = {Split.TRAIN: 1200, Split.TEST: 200}
_SEEDS = {Split.TRAIN: 0, Split.TEST: 1}


@dataclass(frozen=True)
class _Object:
    digit: int
    frame: tuple[int, int, int, int]
    image: Array

    @property
    def ink(self) -> Array:
        """Where on the canvas the digit is, ``(32, 32)``."""
        canvas = np.zeros((CANVAS, CANVAS), np.float32)
        left, top, right, bottom = self.frame
        canvas[top:bottom, left:right] = self.image >= _INK
        return canvas

    @property
    def row(self) -> Array:
        """Class and the box around the ink, ``(5,)``."""
        rows, columns = np.nonzero(self.ink)
        return np.array([self.digit, columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)


def scattered_classes(split: Split) -> Dataset:
    """Return the canvases with a class for each pixel."""
    images, scenes = _scenes(split)
    labels = np.zeros((len(scenes), CANVAS, CANVAS), np.int64)
    for label, objects in zip(labels, scenes, strict=True):
        for found in objects:
            label[found.ink > 0] = 1 + found.digit
    return Dataset("scattered-classes", {"images": images}, labels)


def scattered_boxes(split: Split) -> Dataset:
    """Return the canvases with a box for each digit."""
    images, scenes = _scenes(split)
    labels = np.stack([_padded([found.row for found in objects]) for objects in scenes])
    return Dataset("scattered-boxes", {"images": images}, labels)


def scattered_masks(split: Split) -> Dataset:
    """Return the canvases with a box and a mask for each digit."""
    images, scenes = _scenes(split)
    labels = [_padded([np.append(found.row, found.ink) for found in objects]) for objects in scenes]
    return Dataset("scattered-masks", {"images": images}, np.stack(labels))


def _padded(rows: list[Array]) -> Array:
    """Return rows up to `OBJECTS`, those that stand for none with class −1."""
    table = np.zeros((OBJECTS, len(rows[0])), np.float32)
    table[:, 0] = -1
    table[: len(rows)] = rows
    return table


@functools.cache
def _scenes(split: Split) -> tuple[Array, list[list[_Object]]]:
    source = digits(split)
    assert source.labels is not None
    random = np.random.default_rng([_SEEDS[split], CANVAS])
    images = np.zeros((_SAMPLES[split], 1, CANVAS, CANVAS), np.float32)
    scenes: list[list[_Object]] = []
    for image in images[:, 0]:
        objects: list[_Object] = []
        for _ in range(random.integers(1, OBJECTS + 1)):
            frame = _free_frame([found.frame for found in objects], random)
            place = int(random.integers(len(source)))
            scale = (frame[2] - frame[0]) // 8
            pixels = np.kron(source.inputs["images"][place, 0], np.ones((scale, scale), np.float32))
            image[frame[1] : frame[3], frame[0] : frame[2]] = pixels
            objects.append(_Object(int(source.labels[place]), frame, pixels))
        scenes.append(objects)
    return images, scenes


def _free_frame(taken: list[tuple[int, int, int, int]], random: np.random.Generator) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a square that overlaps none.

    There always is one: beside a square of 16 or less a strip of 8 columns is free over the whole height, and a second
    square takes 16 of its 32 rows at most.
    """
    while True:
        size = int(random.choice(_SIZES))
        left, top = (int(place) for place in random.integers(0, CANVAS - size + 1, 2))
        right, bottom = left + size, top + size
        if all(right <= x0 or x1 <= left or bottom <= y0 or y1 <= top for x0, y0, x1, y1 in taken):
            return left, top, right, bottom
