"""``point-digits``: the digits as sets of points, for networks that take points in any order."""

import functools

import numpy as np

from bnfold.data.dataset import Array, Dataset
from bnfold.data.digits import digits
from bnfold.data.split import Split

POINTS = 48
_SEEDS = {Split.TRAIN: 0, Split.TEST: 1}


@functools.cache
def point_digits(split: Split) -> Dataset:
    """Return ``points`` ``(N, 2, 48)``, float32, x and y in [−1, 1], and labels 0 to 9.

    Points are drawn from each image of ``digits``: a pixel in proportion to its brightness, then a place in the pixel.
    """
    source = digits(split)
    random = np.random.default_rng([_SEEDS[split], POINTS])
    points = np.stack([_drawn(image[0], random) for image in source.inputs["images"]])
    return Dataset("point-digits", {"points": points}, source.labels)


def _drawn(image: Array, random: np.random.Generator) -> Array:
    """Return points ``(2, POINTS)`` of an image ``(height, width)``."""
    height, width = image.shape
    weight = image.astype(np.float64).reshape(-1)
    pixel = random.choice(image.size, POINTS, p=weight / weight.sum())
    place = np.stack([pixel % width, pixel // width]) + random.random((2, POINTS))
    extent = np.array([[width], [height]])
    return (2 * place / extent - 1).astype(np.float32)
